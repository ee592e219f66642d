// Network namespaces, and sockets inside them. A thread that enters a namespace is a fresh one and ends there: no other
// work can ever run on it. A socket belongs to the namespace of the thread that made it, wherever it is used.
#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <vector>

#include "support.h"

namespace skerry {
namespace {

constexpr const char* UNPRIVILEGED_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
constexpr const char* OWN_NAMESPACE = "/proc/thread-self/ns/net";
constexpr const char* TUN = "/dev/net/tun";

Fd open_or_fail(const char* path, int flags) {
  Fd fd(open(path, flags | O_CLOEXEC));
  if (!fd.valid()) fail("open", path);
  return fd;
}

Fd socket_or_fail(int family, int type) {
  Fd fd(socket(family, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) fail("socket");
  return fd;
}

/// An interface of the namespace that this thread is in.
ifreq interface_named(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= IFNAMSIZ) throw Failure{EINVAL, "ioctl", name};
  memcpy(request.ifr_name, name.data(), name.size());
  return request;
}

void bring_up(const std::string& name) {
  const Fd control = socket_or_fail(AF_INET, SOCK_DGRAM);
  ifreq request = interface_named(name);
  if (ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) fail("ioctl", name);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) fail("ioctl", name);
}

void enter(const Fd& network) {
  if (setns(network.get(), CLONE_NEWNET) != 0) fail("setns");
}

/// makeNetworkNamespace() → fd
Napi::Value make(const Napi::CallbackInfo& info) {
  return on_thread(
      info.Env(),
      [] {
        if (unshare(CLONE_NEWNET) != 0) fail("unshare");
        bring_up("lo");
        const Fd ports = open_or_fail(UNPRIVILEGED_PORTS, O_WRONLY);
        if (write(ports.get(), "0", 1) != 1) fail("write", UNPRIVILEGED_PORTS);
        return open_or_fail(OWN_NAMESPACE, O_RDONLY);
      },
      fd_to_js);
}

/// openNetworkNamespace(path) → fd; anything that is not a network namespace is refused
Napi::Value open_namespace(const Napi::CallbackInfo& info) {
  return on_thread(
      info.Env(),
      [path = string_of(info, 0)] {
        Fd fd = open_or_fail(path.c_str(), O_RDONLY);
        if (setns(fd.get(), CLONE_NEWNET) != 0) fail("setns", path);
        return fd;
      },
      fd_to_js);
}

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
  std::string text;
  int family() const { return bytes.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

/// Of an address in digits: a name would have to be looked up, and by whom?
Address address_of(const std::string& host, int port) {
  Address made;
  made.text = host.find(':') == std::string::npos ? host + ":" + std::to_string(port)
                                                  : "[" + host + "]:" + std::to_string(port);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&made.bytes);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&made.bytes);
  if (port < 0 || port > 65535) throw Failure{EINVAL, "inet_pton", made.text};
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    made.size = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    made.size = sizeof *v6;
  } else {
    throw Failure{EINVAL, "inet_pton", made.text};
  }
  return made;
}

void turn_on(const Fd& socket, int level, int option) {
  const int on = 1;
  if (setsockopt(socket.get(), level, option, &on, sizeof on) != 0) fail("setsockopt");
}

Fd bound_socket(const Address& address, int type) {
  Fd made = socket_or_fail(address.family(), type | SOCK_NONBLOCK);
  if (type == SOCK_STREAM) turn_on(made, SOL_SOCKET, SO_REUSEADDR);
  if (address.family() == AF_INET6) turn_on(made, IPPROTO_IPV6, IPV6_V6ONLY);
  if (bind(made.get(), address.get(), address.size) != 0) fail("bind", address.text);
  return made;
}

/// Runs `work(address)` on a thread inside the namespace of the first argument; host and port are the next two.
template <typename Work>
Napi::Value inside(const Napi::CallbackInfo& info, Work work) {
  const Napi::Env env = info.Env();
  try {
    Address address = address_of(string_of(info, 1), int_of(info, 2));
    return on_thread(
        env,
        [network = Fd::duplicate(int_of(info, 0)), address, work] {
          enter(network);
          return work(address);
        },
        fd_to_js);
  } catch (const Failure& failure) {
    return rejected(env, failure);
  }
}

/// socketsInside(network, family 4 or 6, count) → fds of TCP sockets that are not connected yet
Napi::Value sockets_inside(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int family = int_of(info, 1) == 6 ? AF_INET6 : AF_INET;
  try {
    return on_thread(
        env,
        [network = Fd::duplicate(int_of(info, 0)), family, count = int_of(info, 2)] {
          enter(network);
          std::vector<Fd> made;
          for (int i = 0; i < count; i++) {
            made.push_back(socket_or_fail(family, SOCK_STREAM | SOCK_NONBLOCK));
            turn_on(made.back(), IPPROTO_TCP, TCP_NODELAY);
          }
          return made;
        },
        [](Napi::Env made_in, std::vector<Fd>&& made) -> Napi::Value {
          const auto fds = Napi::Array::New(made_in, made.size());
          for (size_t i = 0; i < made.size(); i++) fds.Set(static_cast<uint32_t>(i), fd_to_js(made_in, std::move(made[i])));
          return fds;
        });
  } catch (const Failure& failure) {
    return rejected(env, failure);
  }
}

/// connectSocket(fd, host, port) → true when it is connected; false: wait until it is writable, then ask socketError
Napi::Value connect_socket(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return at_once(env, [&] {
    const int fd = int_of(info, 0);
    const Address address = address_of(string_of(info, 1), int_of(info, 2));
    if (connect(fd, address.get(), address.size) == 0) return Napi::Boolean::New(env, true);
    if (errno != EINPROGRESS) fail("connect", address.text);
    // On a loopback it is done by now.
    pollfd state{fd, POLLOUT, 0};
    return Napi::Boolean::New(env, poll(&state, 1, 0) == 1 && state.revents == POLLOUT);
  });
}

/// listenInside(network, host, port, backlog) → fd
Napi::Value listen_inside(const Napi::CallbackInfo& info) {
  return inside(info, [backlog = int_of(info, 3)](const Address& address) {
    Fd made = bound_socket(address, SOCK_STREAM);
    if (listen(made.get(), backlog) != 0) fail("listen", address.text);
    return made;
  });
}

/// bindUdpInside(network, host, port) → fd
Napi::Value bind_udp_inside(const Napi::CallbackInfo& info) {
  return inside(info, [](const Address& address) { return bound_socket(address, SOCK_DGRAM); });
}

void set_address(const std::string& name, const Address& address, int prefix) {
  const Fd control = socket_or_fail(AF_INET, SOCK_DGRAM);
  ifreq request = interface_named(name);
  memcpy(&request.ifr_addr, address.get(), address.size);
  if (ioctl(control.get(), SIOCSIFADDR, &request) != 0) fail("ioctl", address.text);
  auto* mask = reinterpret_cast<sockaddr_in*>(&request.ifr_netmask);
  *mask = {};
  mask->sin_family = AF_INET;
  mask->sin_addr.s_addr = prefix == 0 ? 0 : htonl(~uint32_t{0} << (32 - prefix));
  if (ioctl(control.get(), SIOCSIFNETMASK, &request) != 0) fail("ioctl", address.text);
}

/// addAddressInside(network, index, host): an address of loopback beside the one it has
Napi::Value add_address_inside(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    const std::string host = string_of(info, 2);
    const Address address = address_of(host, 0);
    if (address.family() != AF_INET) throw Failure{EINVAL, "ioctl", host};
    return on_thread(
        env,
        [network = Fd::duplicate(int_of(info, 0)), name = "lo:" + std::to_string(int_of(info, 1)), address] {
          enter(network);
          set_address(name, address, 32);
          return 0;
        },
        [](Napi::Env env, int) { return env.Undefined(); });
  } catch (const Failure& failure) {
    return rejected(env, failure);
  }
}

/// A route `local 0.0.0.0/0 dev lo` in the main table: what a device leads to is more specific.
void deliver_all() {
  const Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!netlink.valid()) fail("socket");
  struct {
    nlmsghdr head;
    rtmsg route;
    rtattr attribute;
    uint32_t interface;
  } request{};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = RTM_NEWROUTE;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  request.route.rtm_family = AF_INET;
  request.route.rtm_table = RT_TABLE_MAIN;
  request.route.rtm_protocol = RTPROT_STATIC;
  request.route.rtm_scope = RT_SCOPE_HOST;
  request.route.rtm_type = RTN_LOCAL;
  request.attribute.rta_len = RTA_LENGTH(sizeof request.interface);
  request.attribute.rta_type = RTA_OIF;
  request.interface = if_nametoindex("lo");
  if (send(netlink.get(), &request, sizeof request, 0) != sizeof request) fail("sendto", "rtnetlink");
  struct {
    nlmsghdr head;
    nlmsgerr told;
    char rest[256];
  } answer{};
  if (recv(netlink.get(), &answer, sizeof answer, 0) < static_cast<ssize_t>(sizeof answer.head + sizeof answer.told)) {
    fail("recvfrom", "rtnetlink");
  }
  if (answer.told.error != 0) throw Failure{-answer.told.error, "rtnetlink", "local 0.0.0.0/0"};
}

/// deliverAllInside(network)
Napi::Value deliver_all_inside(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    return on_thread(
        env,
        [network = Fd::duplicate(int_of(info, 0))] {
          enter(network);
          deliver_all();
          return 0;
        },
        [](Napi::Env made_in, int) { return made_in.Undefined(); });
  } catch (const Failure& failure) {
    return rejected(env, failure);
  }
}

/// openTap(network, name, address or "", prefix, vnetHeader) → fd
Napi::Value open_tap(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    const std::string host = string_of(info, 2);
    const int prefix = int_of(info, 3);
    const Address address = host.empty() ? Address{} : address_of(host, 0);
    if (!host.empty() && (address.family() != AF_INET || prefix < 0 || prefix > 32))
      throw Failure{EINVAL, "ioctl", host};
    const short flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (info[4].ToBoolean() ? IFF_VNET_HDR : 0));
    return on_thread(
        env,
        [network = Fd::duplicate(int_of(info, 0)), name = string_of(info, 1), address, prefix, flags] {
          enter(network);
          // The device is made in the namespace that this file was opened in.
          Fd tap = open_or_fail(TUN, O_RDWR | O_NONBLOCK);
          ifreq request = interface_named(name);
          request.ifr_flags = flags;
          if (ioctl(tap.get(), TUNSETIFF, &request) != 0) fail("ioctl", TUN);
          if (address.size != 0) set_address(name, address, prefix);
          bring_up(name);
          return tap;
        },
        fd_to_js);
  } catch (const Failure& failure) {
    return rejected(env, failure);
  }
}

}  // namespace

void init_namespaces(Napi::Env env, Napi::Object exports) {
  exports.Set("makeNetworkNamespace", Napi::Function::New(env, make));
  exports.Set("openNetworkNamespace", Napi::Function::New(env, open_namespace));
  exports.Set("socketsInside", Napi::Function::New(env, sockets_inside));
  exports.Set("connectSocket", Napi::Function::New(env, connect_socket));
  exports.Set("listenInside", Napi::Function::New(env, listen_inside));
  exports.Set("bindUdpInside", Napi::Function::New(env, bind_udp_inside));
  exports.Set("addAddressInside", Napi::Function::New(env, add_address_inside));
  exports.Set("deliverAllInside", Napi::Function::New(env, deliver_all_inside));
  exports.Set("openTap", Napi::Function::New(env, open_tap));
}

}  // namespace skerry
