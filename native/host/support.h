// What every part of the addon stands on: failures that carry an errno, descriptors with an owner, and work that runs
// off the event loop and settles a promise.
#pragma once

#include <fcntl.h>
#include <napi.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace skerry {

/// "EPERM". libuv's own table lacks some that Linux has.
inline const char* error_name(int error) {
#if defined(__GLIBC__)
  if (const char* name = strerrorname_np(error)) return name;
#endif
  return uv_err_name(-error);
}

/// A system call that failed. Thrown on any thread, becomes a JavaScript error on the event loop.
struct Failure {
  int error;
  std::string syscall;
  std::string path;

  /// With `code`, `errno` (negative, as Node.js has it), `syscall` and `path`; TypeScript adds the advice.
  Napi::Value to_js(Napi::Env env) const {
    Napi::Error made = Napi::Error::New(env, syscall + ": " + std::system_category().message(error));
    made.Set("code", Napi::String::New(env, error_name(error)));
    made.Set("errno", Napi::Number::New(env, -error));
    made.Set("syscall", Napi::String::New(env, syscall));
    if (!path.empty()) made.Set("path", Napi::String::New(env, path));
    return made.Value();
  }
};

[[noreturn]] inline void fail(const char* syscall, std::string path = {}) {
  throw Failure{errno, syscall, std::move(path)};
}

/// A descriptor that closes with its scope.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    const int saved = errno;
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    errno = saved;
  }

  /// The same open file under a number of its own, so that a caller who closes theirs meanwhile changes nothing.
  static Fd duplicate(int fd) {
    Fd made(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!made.valid()) fail("fcntl");
    return made;
  }

 private:
  int fd_ = -1;
};

inline uv_loop_t* loop_of(Napi::Env env) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  return loop;
}

/// Opens what a call into JavaScript from the event loop needs; promises that it settles are acted on when it closes.
class LoopScope {
 public:
  LoopScope(Napi::Env env, napi_async_context context) : handles_(env), callbacks_(env, context) {}

 private:
  Napi::HandleScope handles_;
  Napi::CallbackScope callbacks_;
};

/// Work that runs on a thread of the pool, or on one of its own that ends with it.
template <typename Work, typename Convert>
class Job {
 public:
  using Result = std::invoke_result_t<Work>;

  static Napi::Promise start(Napi::Env env, bool own_thread, Work work, Convert convert) {
    auto* job = new Job(env, std::move(work), std::move(convert));
    const Napi::Promise promise = job->deferred_.Promise();
    const int status = own_thread ? job->start_thread() : job->start_pool();
    if (status != 0) {
      job->deferred_.Reject(Failure{-status, own_thread ? "clone" : "uv_queue_work", {}}.to_js(env));
      // A handle that was opened is deleted when it has closed.
      if (!job->handle_open_) delete job;
    }
    return promise;
  }

 private:
  Job(Napi::Env env, Work work, Convert convert)
      : env_(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        context_(env, "skerry-host"),
        work_(std::move(work)),
        convert_(std::move(convert)) {}

  int start_pool() {
    request_.data = this;
    return uv_queue_work(
        loop_of(env_), &request_, [](uv_work_t* request) { static_cast<Job*>(request->data)->execute(); },
        [](uv_work_t* request, int) {
          auto* job = static_cast<Job*>(request->data);
          job->settle();
          delete job;
        });
  }

  int start_thread() {
    done_.data = this;
    const int status =
        uv_async_init(loop_of(env_), &done_, [](uv_async_t* done) { static_cast<Job*>(done->data)->finish(); });
    if (status != 0) return status;
    handle_open_ = true;
    try {
      thread_ = std::thread([this] {
        execute();
        uv_async_send(&done_);
      });
    } catch (const std::system_error& error) {
      close();
      return -error.code().value();
    }
    return 0;
  }

  void finish() {
    // It has nothing left to do but to end.
    thread_.join();
    settle();
    close();
  }

  void close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&done_),
             [](uv_handle_t* handle) { delete static_cast<Job*>(handle->data); });
  }

  void execute() {
    try {
      result_.emplace(work_());
    } catch (Failure& failure) {
      failure_ = std::move(failure);
    } catch (const std::exception& error) {
      failure_ = Failure{ENOMEM, error.what(), {}};
    }
  }

  void settle() {
    LoopScope scope(env_, context_);
    try {
      if (failure_)
        deferred_.Reject(failure_->to_js(env_));
      else
        deferred_.Resolve(convert_(env_, std::move(*result_)));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  Napi::Env env_;
  Napi::Promise::Deferred deferred_;
  Napi::AsyncContext context_;
  Work work_;
  Convert convert_;
  std::optional<Result> result_;
  std::optional<Failure> failure_;
  uv_work_t request_{};
  uv_async_t done_{};
  bool handle_open_ = false;
  std::thread thread_;
};

/// On the thread pool, for calls that may wait for a disk or a lock of the kernel.
template <typename Work, typename Convert>
Napi::Promise on_pool(Napi::Env env, Work work, Convert convert) {
  return Job<Work, Convert>::start(env, false, std::move(work), std::move(convert));
}

/// On a fresh thread, for work that changes the thread itself.
template <typename Work, typename Convert>
Napi::Promise on_thread(Napi::Env env, Work work, Convert convert) {
  return Job<Work, Convert>::start(env, true, std::move(work), std::move(convert));
}

inline Napi::Promise rejected(Napi::Env env, const Failure& failure) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(failure.to_js(env));
  return deferred.Promise();
}

/// For calls that cannot wait: done at once, told by a promise all the same.
template <typename Work>
Napi::Promise at_once(Napi::Env env, Work work) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  try {
    deferred.Resolve(work());
  } catch (const Failure& failure) {
    deferred.Reject(failure.to_js(env));
  }
  return deferred.Promise();
}

inline Napi::Value fd_to_js(Napi::Env env, Fd&& fd) { return Napi::Number::New(env, fd.release()); }

/// A whole number, or nothing happens: what JavaScript makes of NaN would be descriptor 0.
inline int int_of(const Napi::CallbackInfo& info, size_t index) {
  const Napi::Number number = info[index].As<Napi::Number>();
  const int value = number.Int32Value();
  if (number.DoubleValue() != value) throw Napi::RangeError::New(info.Env(), "not a whole number");
  return value;
}

inline std::string string_of(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::String>().Utf8Value();
}

void init_descriptors(Napi::Env env, Napi::Object exports);
void init_channel(Napi::Env env, Napi::Object exports);
void init_kvm(Napi::Env env, Napi::Object exports);
void init_namespaces(Napi::Env env, Napi::Object exports);
void init_oom_events(Napi::Env env, Napi::Object exports);
void init_pidfd(Napi::Env env, Napi::Object exports);
void init_steering(Napi::Env env, Napi::Object exports);

}  // namespace skerry
