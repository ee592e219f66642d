/*
 * Preloaded into a process, records in order what it does to the files below one folder: the names it makes and removes,
 * the bytes it writes, and what it syncs. From the record a test works out what a disk may hold after a power cut at any
 * moment (disk-model.ts). Each call and its record are made under one lock, so that the order is the true one.
 *
 *   POWERCUT_ROOT   absolute path of the folder
 *   POWERCUT_LOG    file for the record, outside of it
 *   POWERCUT_MARKS  writes to this path are recorded as marks (what the process has acknowledged by then)
 *   POWERCUT_FAIL   the fdatasync of this number (from 1) fails with EIO, as on a disk that dies
 *
 * A record: 4 bytes each of kind, handle, flags, length of the first text or data, length of the second text; 8 bytes
 * of offset; then the two. Little-endian.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN = 1, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, MARK, MAP_WRITE, UNKNOWN };
enum flag { CREATED = 1, TRUNCATED = 2, SYNCHRONOUS = 4, DIRECTORY = 8 };

#define MAX_FD 65536
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *marks;
static size_t root_length;
static int log_fd = -1;
/* 0: not followed; -1: the file of marks; else the handle, which is never used again for another file. */
static int handles[MAX_FD];
static int synchronous[MAX_FD];
static int appending[MAX_FD];
static int last_handle;
static int fail_after;


static void fail(const char *why) {
  dprintf(2, "powercut shim: %s\n", why);
  abort();
}

__attribute__((constructor)) static void start(void) {
  root = getenv("POWERCUT_ROOT");
  marks = getenv("POWERCUT_MARKS");
  const char *path = getenv("POWERCUT_LOG");
  if (!root || !path) return;
  root_length = strlen(root);
  if (getenv("POWERCUT_FAIL")) fail_after = atoi(getenv("POWERCUT_FAIL"));
  log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) fail("cannot open the log");
}

static void put(const void *data, size_t length) {
  const char *at = data;
  while (length > 0) {
    ssize_t written = syscall(SYS_write, log_fd, at, length);
    if (written < 0) fail("cannot write the log");
    at += written;
    length -= (size_t)written;
  }
}

static void record(uint32_t kind, uint32_t handle, uint32_t flags, int64_t offset, const void *first, size_t first_length,
                   const char *second) {
  uint32_t second_length = second ? (uint32_t)strlen(second) : 0;
  struct __attribute__((packed)) {
    uint32_t kind, handle, flags, first_length, second_length;
    int64_t offset;
  } head = {kind, handle, flags, (uint32_t)first_length, second_length, offset};
  put(&head, sizeof head);
  put(first, first_length);
  put(second, second_length);
}

/* The path below the root, or NULL. "" is the root itself. */
static const char *below(const char *path) {
  if (log_fd < 0 || !path || strncmp(path, root, root_length) != 0) return NULL;
  if (path[root_length] == 0) return "";
  return path[root_length] == '/' ? path + root_length + 1 : NULL;
}

static int followed(int fd) { return log_fd >= 0 && fd >= 0 && fd < MAX_FD ? handles[fd] : 0; }

static int open_recorded(int at, const char *path, int flags, mode_t mode) {
  const char *name = below(path);
  int is_marks = log_fd >= 0 && marks && path && strcmp(path, marks) == 0;
  if (!name && !is_marks) return (int)syscall(SYS_openat, at, path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat before, after;
  int existed = lstat(path, &before) == 0;
  int fd = (int)syscall(SYS_openat, at, path, flags, mode);
  int error = errno;
  if (fd >= MAX_FD) fail("too many descriptors");
  if (fd >= 0 && is_marks) {
    handles[fd] = -1;
  } else if (fd >= 0 && fstat(fd, &after) == 0 && (S_ISREG(after.st_mode) || S_ISDIR(after.st_mode))) {
    if ((flags & O_TMPFILE) == O_TMPFILE) fail("O_TMPFILE is not modelled");
    uint32_t seen = 0;
    if (!existed) seen |= CREATED;
    if (existed && (flags & O_TRUNC)) seen |= TRUNCATED;
    if (S_ISDIR(after.st_mode)) seen |= DIRECTORY;
    handles[fd] = ++last_handle;
    synchronous[fd] = (flags & O_DSYNC) != 0;
    appending[fd] = (flags & O_APPEND) != 0;
    record(OPEN, (uint32_t)last_handle, seen, 0, name, strlen(name), NULL);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define OPEN_MODE(flags)                                  \
  mode_t mode = 0;                                        \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                  \
    va_list rest;                                         \
    va_start(rest, flags);                                \
    mode = va_arg(rest, mode_t);                          \
    va_end(rest);                                         \
  }

int open(const char *path, int flags, ...) { OPEN_MODE(flags) return open_recorded(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE(flags) return open_recorded(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { OPEN_MODE(flags) return open_recorded(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { OPEN_MODE(flags) return open_recorded(at, path, flags, mode); }

int close(int fd) {
  if (!followed(fd)) return (int)syscall(SYS_close, fd);
  pthread_mutex_lock(&lock);
  handles[fd] = 0;
  int result = (int)syscall(SYS_close, fd);
  pthread_mutex_unlock(&lock);
  return result;
}

static ssize_t write_recorded(int fd, const struct iovec *parts, int count, off_t offset) {
  int handle = followed(fd);
  if (!handle)
    return offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, offset, 0);
  pthread_mutex_lock(&lock);
  off_t at = offset;
  if (offset < 0 && handle > 0) at = lseek(fd, 0, appending[fd] ? SEEK_END : SEEK_CUR);
  ssize_t written =
      offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, offset, 0);
  int error = errno;
  if (written > 0) {
    char *bytes = malloc((size_t)written);
    if (!bytes) fail("no memory");
    size_t have = 0;
    for (int i = 0; i < count && have < (size_t)written; i++) {
      size_t take = parts[i].iov_len < (size_t)written - have ? parts[i].iov_len : (size_t)written - have;
      memcpy(bytes + have, parts[i].iov_base, take);
      have += take;
    }
    if (handle < 0) record(MARK, 0, 0, 0, bytes, have, NULL);
    else record(WRITE, (uint32_t)handle, synchronous[fd] ? SYNCHRONOUS : 0, at, bytes, have, NULL);
    free(bytes);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

static ssize_t write_one(int fd, const void *data, size_t length, off_t offset) {
  struct iovec part = {(void *)data, length};
  return write_recorded(fd, &part, 1, offset);
}

ssize_t write(int fd, const void *data, size_t length) { return write_one(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return write_one(fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return write_one(fd, data, length, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_recorded(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return write_recorded(fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return write_recorded(fd, parts, count, at);
}

#define RECORDED(fd, call, ...)               \
  int handle = followed(fd);                  \
  if (handle <= 0) return (int)(call);        \
  pthread_mutex_lock(&lock);                  \
  int result = (int)(call);                   \
  int error = errno;                          \
  if (result == 0) record(__VA_ARGS__);       \
  pthread_mutex_unlock(&lock);                \
  errno = error;                              \
  return result;

int fsync(int fd) { RECORDED(fd, syscall(SYS_fsync, fd), SYNC, (uint32_t)handle, 0, 0, "", 0, NULL) }
int fdatasync(int fd) {
  if (followed(fd) > 0 && --fail_after == 0) {
    errno = EIO;
    return -1;
  }
  RECORDED(fd, syscall(SYS_fdatasync, fd), SYNC, (uint32_t)handle, 0, 0, "", 0, NULL) }
int ftruncate(int fd, off_t length) {
  RECORDED(fd, syscall(SYS_ftruncate, fd, length), TRUNCATE, (uint32_t)handle, 0, length, "", 0, NULL)
}
int ftruncate64(int fd, off64_t length) {
  RECORDED(fd, syscall(SYS_ftruncate, fd, length), TRUNCATE, (uint32_t)handle, 0, length, "", 0, NULL)
}

#define NAMED(path, call, kind, from, to)                                                   \
  const char *name = below(path);                                                           \
  if (!name) return (int)(call);                                                            \
  pthread_mutex_lock(&lock);                                                                \
  int result = (int)(call);                                                                 \
  int error = errno;                                                                        \
  if (result == 0) record(kind, 0, 0, 0, from, strlen(from), to);                           \
  pthread_mutex_unlock(&lock);                                                              \
  errno = error;                                                                            \
  return result;

int unlink(const char *path) { NAMED(path, syscall(SYS_unlinkat, AT_FDCWD, path, 0), UNLINK, name, NULL) }
int rmdir(const char *path) { NAMED(path, syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR), RMDIR, name, NULL) }
int mkdir(const char *path, mode_t mode) {
  NAMED(path, syscall(SYS_mkdirat, AT_FDCWD, path, mode), MKDIR, name, NULL)
}
int rename(const char *from, const char *to) {
  const char *source = below(from);
  if ((source == NULL) != (below(to) == NULL) && log_fd >= 0) fail("a rename into or out of the folder");
  NAMED(to, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), RENAME, source, name)
}
int link(const char *from, const char *to) {
  const char *source = below(from);
  NAMED(to, syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0), LINK, source ? source : "", name)
}

/* A shared, writable mapping changes a file without any call that could be recorded. */
static void *map_recorded(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  int handle = followed(fd);
  if (handle > 0 && (protection & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE) {
    pthread_mutex_lock(&lock);
    record(MAP_WRITE, (uint32_t)handle, 0, offset, "", 0, NULL);
    pthread_mutex_unlock(&lock);
  }
  return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap(void *a, size_t l, int p, int f, int fd, off_t o) { return map_recorded(a, l, p, f, fd, o); }
void *mmap64(void *a, size_t l, int p, int f, int fd, off64_t o) { return map_recorded(a, l, p, f, fd, o); }

/* Ways to change a file that nothing here uses; should that change, the test must not pass by not seeing them. */
#define UNMODELLED(fd, what)                                               \
  if (followed(fd)) {                                                      \
    pthread_mutex_lock(&lock);                                             \
    record(UNKNOWN, (uint32_t)handles[fd], 0, 0, what, strlen(what), NULL); \
    pthread_mutex_unlock(&lock);                                           \
  }
int fallocate(int fd, int mode, off_t at, off_t length) {
  UNMODELLED(fd, "fallocate")
  return (int)syscall(SYS_fallocate, fd, mode, at, length);
}
ssize_t sendfile(int out, int in, off_t *at, size_t count) {
  UNMODELLED(out, "sendfile")
  return syscall(SYS_sendfile, out, in, at, count);
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags) {
  UNMODELLED(out, "copy_file_range")
  return syscall(SYS_copy_file_range, in, in_at, out, out_at, count, flags);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
  UNMODELLED(fd, "pwritev2")
  return syscall(SYS_pwritev2, fd, parts, count, at, 0, flags);
}
