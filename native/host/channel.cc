// Messages with descriptors over a SOCK_SEQPACKET socket. The peer may be hostile: whatever it sends, no descriptor of its
// stays open unseen, nothing grows without bound, and the event loop gets its turn.
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <deque>
#include <vector>

#include "support.h"

namespace skerry {
namespace {

constexpr size_t MOST_BYTES = 64 * 1024;
constexpr size_t MOST_FDS = 16;
/// Messages read in one turn of the event loop.
constexpr int MOST_PER_TURN = 32;
/// What waits for a peer that does not read.
constexpr size_t MOST_QUEUED_MESSAGES = 256;
constexpr size_t MOST_QUEUED_BYTES = 1024 * 1024;
constexpr size_t MOST_QUEUED_FDS = 256;

union Control {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int) * MOST_FDS)> bytes;
};

/// @returns 0 or an errno; never waits
int send_message(int socket, const uint8_t* bytes, size_t size, const std::vector<int>& fds) {
  iovec data{const_cast<uint8_t*>(bytes), size};
  Control control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    const size_t length = sizeof(int) * fds.size();
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(length);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(header), fds.data(), length);
  }
  for (;;) {
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

class Channel : public Napi::ObjectWrap<Channel> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Channel",
                       {
                           InstanceMethod<&Channel::send>("send"),
                           InstanceMethod<&Channel::pause>("pause"),
                           InstanceMethod<&Channel::resume>("resume"),
                           InstanceMethod<&Channel::close>("close"),
                           InstanceMethod<&Channel::ref>("ref"),
                           InstanceMethod<&Channel::unref>("unref"),
                       });
  }

  /// new Channel(fd, onMessage(bytes, fds), onClose(error | null)): owns the descriptor from then on
  explicit Channel(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Channel>(info), env_(info.Env()), context_(info.Env(), "skerry-channel") {
    fd_ = Fd(int_of(info, 0));
    int type = 0;
    socklen_t size = sizeof type;
    int error = getsockopt(fd_.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 ? errno : 0;
    if (error == 0 && type != SOCK_SEQPACKET) error = EPROTOTYPE;
    if (error == 0) {
      poll_ = new uv_poll_t{};
      poll_->data = this;
      error = -uv_poll_init(loop_of(env_), poll_, fd_.get());
      if (error != 0) delete std::exchange(poll_, nullptr);
    }
    if (error != 0) {
      // The descriptor is the caller's still.
      fd_.release();
      throw Napi::Error(env_, Failure{error, "socket", {}}.to_js(env_));
    }
    on_message_ = Napi::Persistent(info[1].As<Napi::Function>());
    on_close_ = Napi::Persistent(info[2].As<Napi::Function>());
    // Lives until it is closed, whoever still holds it.
    Ref();
    watch();
  }

 private:
  struct Waiting {
    std::vector<uint8_t> bytes;
    std::vector<Fd> fds;
    Napi::Promise::Deferred deferred;
  };

  /// send(bytes, fds) → a promise that the kernel has taken them
  Napi::Value send(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const auto list = info[1].As<Napi::Array>();
    auto deferred = Napi::Promise::Deferred::New(env);
    const auto refuse = [&](int error) {
      deferred.Reject(Failure{error, "sendmsg", {}}.to_js(env));
      return deferred.Promise();
    };
    if (!fd_.valid()) return refuse(EPIPE);
    // An empty message cannot be told from the end of the channel.
    if (bytes.ByteLength() == 0) return refuse(EINVAL);
    if (bytes.ByteLength() > MOST_BYTES) return refuse(EMSGSIZE);
    if (list.Length() > MOST_FDS) return refuse(E2BIG);
    std::vector<int> fds;
    for (uint32_t i = 0; i < list.Length(); i++) {
      const Napi::Value each = list.Get(i);
      // A hole or NaN would count as 0, and send the peer our stdin.
      if (!each.IsNumber() || each.As<Napi::Number>().DoubleValue() != each.As<Napi::Number>().Int32Value())
        return refuse(EBADF);
      fds.push_back(each.As<Napi::Number>().Int32Value());
    }
    int error = EAGAIN;
    if (queue_.empty()) error = send_message(fd_.get(), bytes.Data(), bytes.ByteLength(), fds);
    if (error == 0) {
      deferred.Resolve(env.Undefined());
      return deferred.Promise();
    }
    if (error != EAGAIN) return refuse(error);
    if (queue_.size() >= MOST_QUEUED_MESSAGES || queued_bytes_ + bytes.ByteLength() > MOST_QUEUED_BYTES ||
        queued_fds_ + fds.size() > MOST_QUEUED_FDS) {
      return refuse(ENOBUFS);
    }
    Waiting waiting{{bytes.Data(), bytes.Data() + bytes.ByteLength()}, {}, deferred};
    try {
      for (const int fd : fds) waiting.fds.push_back(Fd::duplicate(fd));
    } catch (const Failure& failure) {
      return refuse(failure.error);
    }
    queued_bytes_ += waiting.bytes.size();
    queued_fds_ += waiting.fds.size();
    queue_.push_back(std::move(waiting));
    watch();
    return deferred.Promise();
  }

  void pause(const Napi::CallbackInfo&) {
    paused_ = true;
    watch();
  }

  void resume(const Napi::CallbackInfo&) {
    paused_ = false;
    watch();
  }

  void close(const Napi::CallbackInfo&) { end(std::nullopt); }

  void ref(const Napi::CallbackInfo&) {
    if (poll_ != nullptr) uv_ref(reinterpret_cast<uv_handle_t*>(poll_));
  }

  void unref(const Napi::CallbackInfo&) {
    if (poll_ != nullptr) uv_unref(reinterpret_cast<uv_handle_t*>(poll_));
  }

  /// Asks libuv for the events that matter now.
  void watch() {
    if (poll_ == nullptr) return;
    const int events = (paused_ ? 0 : UV_READABLE) | (queue_.empty() ? 0 : UV_WRITABLE);
    if (events == 0) {
      uv_poll_stop(poll_);
      return;
    }
    uv_poll_start(poll_, events,
                  [](uv_poll_t* poll, int status, int seen) { static_cast<Channel*>(poll->data)->ready(status, seen); });
  }

  void ready(int status, int events) {
    LoopScope scope(env_, context_);
    // Keeps this object through what handlers do.
    Ref();
    // A status is an error that is pending on the socket (EPOLLERR), whatever libuv calls it: reading and sending say which.
    if (status != 0) events = UV_READABLE | UV_WRITABLE;
    if ((events & UV_WRITABLE) != 0) flush();
    if ((events & UV_READABLE) != 0) receive();
    watch();
    Unref();
  }

  void flush() {
    while (fd_.valid() && !queue_.empty()) {
      Waiting& first = queue_.front();
      std::vector<int> fds;
      for (const Fd& fd : first.fds) fds.push_back(fd.get());
      const int error = send_message(fd_.get(), first.bytes.data(), first.bytes.size(), fds);
      if (error == EAGAIN) return;
      if (error == 0)
        first.deferred.Resolve(env_.Undefined());
      else
        first.deferred.Reject(Failure{error, "sendmsg", {}}.to_js(env_));
      queued_bytes_ -= first.bytes.size();
      queued_fds_ -= first.fds.size();
      queue_.pop_front();
    }
  }

  void receive() {
    static std::array<uint8_t, MOST_BYTES> buffer;
    for (int turn = 0; turn < MOST_PER_TURN && fd_.valid() && !paused_; turn++) {
      iovec data{buffer.data(), buffer.size()};
      Control control{};
      msghdr message{};
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = control.bytes.data();
      message.msg_controllen = sizeof control.bytes;
      const ssize_t size = recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (size < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return;
        // The peer left without reading all that it was sent; what it sent itself before that can be read still.
        if (errno == ECONNRESET && !reset_) {
          reset_ = true;
          continue;
        }
        return end(Failure{errno, "recvmsg", {}});
      }
      // From here on each descriptor has an owner, whatever becomes of the message.
      std::vector<Fd> fds = received(message);
      // More bytes than a message may have, or descriptors that there was no room for (here, or in this process).
      if ((message.msg_flags & MSG_TRUNC) != 0) return end(Failure{EMSGSIZE, "recvmsg", {}});
      if ((message.msg_flags & MSG_CTRUNC) != 0) return end(Failure{ETOOMANYREFS, "recvmsg", {}});
      if (size == 0) return end(reset_ ? std::optional(Failure{ECONNRESET, "recvmsg", {}}) : std::nullopt);
      deliver(buffer.data(), static_cast<size_t>(size), std::move(fds));
    }
  }

  static std::vector<Fd> received(msghdr& message) {
    std::vector<Fd> fds;
    fds.reserve(MOST_FDS);
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; i++) {
        int fd = -1;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
        fds.emplace_back(fd);
      }
    }
    return fds;
  }

  void deliver(const uint8_t* bytes, size_t size, std::vector<Fd> fds) {
    Napi::HandleScope scope(env_);
    const auto data = Napi::Buffer<uint8_t>::Copy(env_, bytes, size);
    const auto list = Napi::Array::New(env_, fds.size());
    for (size_t i = 0; i < fds.size(); i++)
      list.Set(static_cast<uint32_t>(i), Napi::Number::New(env_, fds[i].release()));
    call(on_message_, {data, list});
  }

  /// A handler that throws ends the process as any callback that throws does, unless somebody listens for that.
  void call(const Napi::FunctionReference& handler, const std::vector<napi_value>& arguments) {
    try {
      handler.Call(Value(), arguments);
    } catch (const Napi::Error& error) {
      napi_fatal_exception(env_, error.Value());
    }
  }

  void end(std::optional<Failure> failure) {
    if (!fd_.valid()) return;
    Napi::HandleScope scope(env_);
    for (Waiting& waiting : queue_) waiting.deferred.Reject(Failure{EPIPE, "sendmsg", {}}.to_js(env_));
    queue_.clear();
    uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(poll_, nullptr)),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    fd_.reset();
    call(on_close_, {failure ? failure->to_js(env_) : env_.Null()});
    on_message_.Reset();
    on_close_.Reset();
    Unref();
  }

  Napi::Env env_;
  Napi::AsyncContext context_;
  Fd fd_;
  /// Freed by libuv's close callback, which comes after this object may be gone.
  uv_poll_t* poll_ = nullptr;
  Napi::FunctionReference on_message_;
  Napi::FunctionReference on_close_;
  std::deque<Waiting> queue_;
  size_t queued_bytes_ = 0;
  size_t queued_fds_ = 0;
  bool paused_ = false;
  bool reset_ = false;
};

template <int TYPE>
Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    int fds[2];
    if (socketpair(AF_UNIX, TYPE | SOCK_CLOEXEC, 0, fds) != 0) fail("socketpair");
    const auto made = Napi::Array::New(env, 2);
    made.Set(0u, Napi::Number::New(env, fds[0]));
    made.Set(1u, Napi::Number::New(env, fds[1]));
    return made;
  });
}

Napi::Value make_pipe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) fail("pipe2");
    const auto made = Napi::Array::New(env, 2);
    made.Set(0u, Napi::Number::New(env, fds[0]));
    made.Set(1u, Napi::Number::New(env, fds[1]));
    return made;
  });
}

}  // namespace

void init_channel(Napi::Env env, Napi::Object exports) {
  exports.Set("socketPair", Napi::Function::New(env, socket_pair<SOCK_SEQPACKET>));
  exports.Set("streamPair", Napi::Function::New(env, socket_pair<SOCK_STREAM>));
  exports.Set("makePipe", Napi::Function::New(env, make_pipe));
  exports.Set("Channel", Channel::define(env));
}

}  // namespace skerry
