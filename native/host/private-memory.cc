// Loaded into QEMU before 8.2 (LD_PRELOAD), for clones of a template: opens the file of the template's memory to be read
// only, where QEMU asks to write to it, which the file does not allow. What it maps is private: pages that are written are
// copies. From 8.2 on QEMU does so by itself (memory-backend-file,readonly=on,rom=off).
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace {

using Open = int (*)(const char*, int, ...);

/// The one file, named in the environment.
bool is_memory(const char* path) {
  const char* memory = getenv("SKERRY_PRIVATE_MEMORY");
  return memory != nullptr && path != nullptr && strcmp(path, memory) == 0;
}

int open_as(const char* symbol, const char* path, int flags, mode_t mode) {
  const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, symbol));
  if (is_memory(path)) flags = (flags & ~(O_ACCMODE | O_CREAT | O_TRUNC)) | O_RDONLY;
  return next(path, flags, mode);
}

mode_t mode_of(int flags, va_list arguments) { return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0; }

#define EXPORTED __attribute__((visibility("default")))

}  // namespace

extern "C" {

EXPORTED int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_as("open", path, flags, mode);
}

EXPORTED int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_as("open64", path, flags, mode);
}

// What glibc's headers make of a call without a mode, in a program that is fortified.
EXPORTED int __open_2(const char* path, int flags) { return open_as("open", path, flags, 0); }
EXPORTED int __open64_2(const char* path, int flags) { return open_as("open64", path, flags, 0); }
}
