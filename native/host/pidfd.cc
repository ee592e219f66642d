// Processes by pidfd, which never come to mean another process as numbers do, and what a process asks of its own relation
// to others.
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "support.h"

namespace skerry {
namespace {

/// As of Linux 6.13, newer than the headers that this may be built with: linux/pidfd.h, the layout of its first version.
struct PidfdInfo {
  uint64_t mask;
  uint64_t cgroup;
  uint32_t pid, tgid, ppid;
  uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr unsigned long GET_INFO = _IOWR(0xFF, 11, PidfdInfo);
/// Linux 6.15
constexpr uint64_t INFO_EXIT = 1 << 3;

#ifndef P_PIDFD
constexpr idtype_t P_PIDFD = static_cast<idtype_t>(3);
#endif

/// pidfdOpen(pid) → fd
Napi::Value pidfd_open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    const int pid = int_of(info, 0);
    Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!fd.valid()) fail("pidfd_open", std::to_string(pid));
    return fd_to_js(env, std::move(fd));
  });
}

/// pidfdSignal(fd, signal); 0 only looks whether there is such a process
Napi::Value pidfd_signal(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    if (syscall(SYS_pidfd_send_signal, int_of(info, 0), int_of(info, 1), nullptr, 0) != 0) fail("pidfd_send_signal");
    return env.Undefined();
  });
}

/// { code } or { signal }, from what wait gives back
Napi::Value status_to_js(Napi::Env env, int status) {
  Napi::Object made = Napi::Object::New(env);
  if (WIFSIGNALED(status))
    made.Set("signal", Napi::Number::New(env, WTERMSIG(status)));
  else
    made.Set("code", Napi::Number::New(env, WEXITSTATUS(status)));
  return made;
}

/// pidfdReap(fd) → a child's exit, which is then reaped; null when it is not a child of this process, or runs still
Napi::Value pidfd_reap(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&]() -> Napi::Value {
    siginfo_t seen{};
    const auto fd = static_cast<id_t>(int_of(info, 0));
    if (waitid(P_PIDFD, fd, &seen, WEXITED | WNOHANG) != 0) {
      if (errno == ECHILD || errno == EAGAIN) return env.Null();
      fail("waitid");
    }
    if (seen.si_pid == 0) return env.Null();
    return status_to_js(env, seen.si_code == CLD_EXITED ? (seen.si_status & 0xff) << 8 : seen.si_status & 0x7f);
  });
}

/// pidfdExit(fd) → how a process ended that has been reaped; null when the kernel cannot tell, undefined not yet
Napi::Value pidfd_exit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&]() -> Napi::Value {
    PidfdInfo asked{};
    asked.mask = INFO_EXIT;
    if (ioctl(int_of(info, 0), GET_INFO, &asked) != 0) {
      if (errno == EBADF) fail("ioctl");
      return env.Null();
    }
    if ((asked.mask & INFO_EXIT) == 0) return env.Undefined();
    return status_to_js(env, asked.exit_code);
  });
}

/// setChildSubreaper(on)
Napi::Value set_child_subreaper(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    if (prctl(PR_SET_CHILD_SUBREAPER, info[0].As<Napi::Boolean>().Value() ? 1 : 0, 0, 0, 0) != 0) fail("prctl");
    return env.Undefined();
  });
}

/// setParentDeathSignal(signal). On the main thread, since the setting goes when its thread does.
Napi::Value set_parent_death_signal(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    if (prctl(PR_SET_PDEATHSIG, int_of(info, 0), 0, 0, 0) != 0) fail("prctl");
    return env.Undefined();
  });
}

}  // namespace

void init_pidfd(Napi::Env env, Napi::Object exports) {
  exports.Set("pidfdOpen", Napi::Function::New(env, pidfd_open));
  exports.Set("pidfdSignal", Napi::Function::New(env, pidfd_signal));
  exports.Set("pidfdReap", Napi::Function::New(env, pidfd_reap));
  exports.Set("pidfdExit", Napi::Function::New(env, pidfd_exit));
  exports.Set("setChildSubreaper", Napi::Function::New(env, set_child_subreaper));
  exports.Set("setParentDeathSignal", Napi::Function::New(env, set_parent_death_signal));
}

}  // namespace skerry
