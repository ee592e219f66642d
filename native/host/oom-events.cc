// The one thing about cgroups that files alone do not do: version 1 tells of an OOM by an eventfd.
#include <sys/eventfd.h>

#include "support.h"

namespace skerry {
namespace {

/// oomEvents(folder of a v1 memory group) → an eventfd that becomes readable at an OOM, and when the group is removed
Napi::Value oom_events(const Napi::CallbackInfo& info) {
  return on_pool(
      info.Env(),
      [folder = string_of(info, 0)] {
        Fd made(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!made.valid()) fail("eventfd");
        const auto open_in = [&](const char* name, int flags) {
          const std::string path = folder + "/" + name;
          Fd fd(open(path.c_str(), flags | O_CLOEXEC));
          if (!fd.valid()) fail("open", path);
          return fd;
        };
        const Fd watched = open_in("memory.oom_control", O_RDONLY);
        const Fd control = open_in("cgroup.event_control", O_WRONLY);
        const std::string wish = std::to_string(made.get()) + " " + std::to_string(watched.get());
        if (write(control.get(), wish.data(), wish.size()) < 0) fail("write", folder + "/cgroup.event_control");
        return made;
      },
      fd_to_js);
}

/// drainEvents(fd): makes an eventfd unreadable until the next event
Napi::Value drain_events(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    uint64_t count = 0;
    if (read(int_of(info, 0), &count, sizeof count) < 0 && errno != EAGAIN) fail("read");
    return env.Undefined();
  });
}

}  // namespace

void init_oom_events(Napi::Env env, Napi::Object exports) {
  exports.Set("oomEvents", Napi::Function::New(env, oom_events));
  exports.Set("drainEvents", Napi::Function::New(env, drain_events));
}

}  // namespace skerry
