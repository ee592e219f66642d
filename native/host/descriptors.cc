// Single descriptors: close, duplicate, close-on-exec, who is at the other end, and waiting for one to become ready.
#include <sys/socket.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "support.h"

namespace skerry {
namespace {

Napi::Value close_fd(const Napi::CallbackInfo& info) {
  // On the pool: closing a socket that lingers, or the last descriptor of a file, may take its time.
  return on_pool(
      info.Env(),
      [fd = int_of(info, 0)] {
        // Linux frees the number even when it says EINTR; another thread may have it by then.
        if (::close(fd) != 0 && errno != EINTR) fail("close");
        return 0;
      },
      [](Napi::Env env, int) { return env.Undefined(); });
}

Napi::Value dup_fd(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] { return fd_to_js(env, Fd::duplicate(int_of(info, 0))); });
}

Napi::Value set_cloexec(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    const int fd = int_of(info, 0);
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0) fail("fcntl");
    const bool on = info[1].As<Napi::Boolean>().Value();
    if (fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC) != 0) fail("fcntl");
    return env.Undefined();
  });
}

Napi::Value peer_credentials(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(int_of(info, 0), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) fail("getsockopt");
    Napi::Object made = Napi::Object::New(env);
    made.Set("pid", Napi::Number::New(env, peer.pid));
    made.Set("uid", Napi::Number::New(env, peer.uid));
    made.Set("gid", Napi::Number::New(env, peer.gid));
    return made;
  });
}

/// The pending error of a socket, as connect leaves it behind: 0 or an errno.
Napi::Value socket_error(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(int_of(info, 0), SOL_SOCKET, SO_ERROR, &error, &size) != 0) fail("getsockopt");
    return Napi::Number::New(env, error);
  });
}

/// Waits once for events of a descriptor. Settles when libuv has let go of it, so that it may be closed then.
class Wait {
 public:
  /// waitFor(fd, events, timeoutMs, ref)
  /// @returns { done: Promise<events; 0 when the time has passed or the wait was cancelled>, cancel() }
  static Napi::Value start(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto* wait = new Wait(env);
    Napi::Object made = Napi::Object::New(env);
    made.Set("done", wait->deferred_.Promise());
    wait->alive_ = std::make_shared<Wait*>(wait);
    made.Set("cancel", Napi::Function::New(env, [alive = wait->alive_](const Napi::CallbackInfo&) {
      if (*alive != nullptr) (*alive)->finish(0, 0);
    }));
    wait->open(int_of(info, 0), int_of(info, 1), info[2].As<Napi::Number>().DoubleValue(),
               info[3].As<Napi::Boolean>().Value());
    return made;
  }

 private:
  explicit Wait(Napi::Env env)
      : env_(env), deferred_(Napi::Promise::Deferred::New(env)), context_(env, "skerry-host") {}

  void open(int fd, int events, double timeout_ms, bool ref) {
    poll_.data = this;
    timer_.data = this;
    const int status = uv_poll_init(loop_of(env_), &poll_, fd);
    if (status != 0) {
      *alive_ = nullptr;
      deferred_.Reject(Failure{-status, "epoll_ctl", {}}.to_js(env_));
      delete this;
      return;
    }
    uv_timer_init(loop_of(env_), &timer_);
    if (!ref) {
      uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
      uv_unref(reinterpret_cast<uv_handle_t*>(&timer_));
    }
    wanted_ = events;
    uv_poll_start(&poll_, events, [](uv_poll_t* poll, int error, int seen) {
      auto* wait = static_cast<Wait*>(poll->data);
      // What libuv tells as EBADF is that the file has an error pending (EPOLLERR): the next call on it says which.
      if (error == UV_EBADF)
        wait->finish(0, wait->wanted_);
      else
        wait->finish(error, seen);
    });
    if (std::isfinite(timeout_ms)) {
      uv_timer_start(
          &timer_, [](uv_timer_t* timer) { static_cast<Wait*>(timer->data)->finish(0, 0); },
          static_cast<uint64_t>(std::max(0.0, timeout_ms)), 0);
    }
  }

  void finish(int error, int events) {
    *alive_ = nullptr;
    error_ = error;
    events_ = events;
    const auto closed = [](uv_handle_t* handle) { static_cast<Wait*>(handle->data)->closed(); };
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&timer_), closed);
  }

  void closed() {
    if (++closed_ < 2) return;
    {
      LoopScope scope(env_, context_);
      if (error_ != 0)
        deferred_.Reject(Failure{-error_, "epoll_wait", {}}.to_js(env_));
      else
        deferred_.Resolve(Napi::Number::New(env_, events_));
    }
    delete this;
  }

  Napi::Env env_;
  Napi::Promise::Deferred deferred_;
  Napi::AsyncContext context_;
  uv_poll_t poll_{};
  uv_timer_t timer_{};
  /// Null once the wait is over: `cancel` may be called at any time.
  std::shared_ptr<Wait*> alive_;
  int wanted_ = 0;
  int error_ = 0;
  int events_ = 0;
  int closed_ = 0;
};

}  // namespace

void init_descriptors(Napi::Env env, Napi::Object exports) {
  exports.Set("closeFd", Napi::Function::New(env, close_fd));
  exports.Set("dupFd", Napi::Function::New(env, dup_fd));
  exports.Set("setCloexec", Napi::Function::New(env, set_cloexec));
  exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials));
  exports.Set("socketError", Napi::Function::New(env, socket_error));
  exports.Set("waitFor", Napi::Function::New(env, Wait::start));
}

}  // namespace skerry
