// Hands connections inside a network namespace to one listening socket, whatever address and port they are made to, by a
// BPF program at the kernel's lookup of sockets (https://docs.kernel.org/bpf/prog_sk_lookup.html). The accepted socket says
// where its client meant to go. Sockets that listen on those addresses one by one would keep the ports from a workload
// that listens on all of its own.
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "support.h"

namespace skerry {
namespace {

Fd bpf(bpf_cmd command, bpf_attr& attributes, const char* about) {
  const long fd = syscall(SYS_bpf, command, &attributes, sizeof attributes);
  if (fd < 0) fail("bpf", about);
  return Fd(static_cast<int>(fd));
}

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

/// A map of one place, which has the listening socket until that closes.
Fd map_of(const Fd& listener) {
  bpf_attr made{};
  made.map_type = BPF_MAP_TYPE_SOCKMAP;
  made.key_size = sizeof(uint32_t);
  made.value_size = sizeof(uint64_t);
  made.max_entries = 1;
  Fd map = bpf(BPF_MAP_CREATE, made, "sockmap");
  const uint32_t key = 0;
  const uint64_t value = static_cast<uint64_t>(listener.get());
  bpf_attr update{};
  update.map_fd = static_cast<uint32_t>(map.get());
  update.key = address_of(&key);
  update.value = address_of(&value);
  if (syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &update, sizeof update) != 0) fail("bpf", "sockmap");
  return map;
}

enum Place { STEER, AS_EVER, NOBODYS, PLACES };

/// Instructions with places to jump to, which may stand behind the jump.
class Assembler {
 public:
  void set(uint8_t to, int32_t value) { add(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }
  void copy(uint8_t to, uint8_t from) { add(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void load(uint8_t to, uint8_t from, size_t offset) {
    add(BPF_LDX | BPF_MEM | BPF_W, to, from, static_cast<int16_t>(offset), 0);
  }
  void load_map(uint8_t to, const Fd& map) {
    add(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_FD, 0, map.get());
    add(0, 0, 0, 0, 0);
  }
  void call_helper(bpf_func_id helper) { add(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
  void jump(uint8_t condition, uint8_t left, int32_t right, Place to) {
    jumps_.emplace_back(code_.size(), to);
    add(BPF_JMP | condition | BPF_K, left, 0, 0, right);
  }
  void place(Place place) { places_[place] = code_.size(); }
  void leave_with(int32_t verdict) {
    set(BPF_REG_0, verdict);
    add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  void add(int code, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
    code_.push_back({static_cast<uint8_t>(code), to, from, offset, value});
  }

  std::vector<bpf_insn> done() {
    for (const auto& [at, to] : jumps_) code_[at].off = static_cast<int16_t>(places_[to] - at - 1);
    return code_;
  }

 private:
  std::vector<bpf_insn> code_;
  std::vector<std::pair<size_t, Place>> jumps_;
  size_t places_[PLACES] = {};
};

/// TCP over IPv4 to 127.64.0.0/10, or to what is not loopback, is the listener's; nobody's when it has gone. All else is
/// looked up as ever.
std::vector<bpf_insn> program_for(const Fd& map) {
  constexpr int32_t TEN_BITS = static_cast<int32_t>(0xffc00000), STEERED_LOOPBACK = 0x7f400000;
  constexpr uint8_t R0 = BPF_REG_0, R1 = BPF_REG_1, R2 = BPF_REG_2, R3 = BPF_REG_3, STACK = BPF_REG_10;
  // Kept over calls.
  constexpr uint8_t CONTEXT = BPF_REG_6, SOCKET = BPF_REG_7, STATUS = BPF_REG_8;
  Assembler code;
  code.copy(CONTEXT, R1);
  code.load(R2, CONTEXT, offsetof(bpf_sk_lookup, protocol));
  code.jump(BPF_JNE, R2, IPPROTO_TCP, AS_EVER);
  code.load(R2, CONTEXT, offsetof(bpf_sk_lookup, family));
  code.jump(BPF_JNE, R2, AF_INET, AS_EVER);
  code.load(R2, CONTEXT, offsetof(bpf_sk_lookup, local_ip4));
  code.add(BPF_ALU | BPF_END | BPF_TO_BE, R2, 0, 0, 32);
  code.copy(R3, R2);
  code.add(BPF_ALU | BPF_RSH | BPF_K, R3, 0, 0, 24);
  code.jump(BPF_JNE, R3, 127, STEER);
  code.add(BPF_ALU | BPF_AND | BPF_K, R2, 0, 0, TEN_BITS);
  code.jump(BPF_JNE, R2, STEERED_LOOPBACK, AS_EVER);
  code.place(STEER);
  code.load_map(R1, map);
  code.add(BPF_ST | BPF_MEM | BPF_W, STACK, 0, -4, 0);
  code.copy(R2, STACK);
  code.add(BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, -4);
  code.call_helper(BPF_FUNC_map_lookup_elem);
  code.jump(BPF_JEQ, R0, 0, NOBODYS);
  code.copy(SOCKET, R0);
  code.copy(R1, CONTEXT);
  code.copy(R2, SOCKET);
  code.set(R3, 0);
  code.call_helper(BPF_FUNC_sk_assign);
  code.copy(STATUS, R0);
  code.copy(R1, SOCKET);
  code.call_helper(BPF_FUNC_sk_release);
  code.jump(BPF_JNE, STATUS, 0, NOBODYS);
  code.place(AS_EVER);
  code.leave_with(SK_PASS);
  code.place(NOBODYS);
  code.leave_with(SK_DROP);
  return code.done();
}

/// steerStreams(network, listener) → fd of the link: while it is open, the listener gets them
Napi::Value steer_streams(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    return on_pool(
        env,
        [network = Fd::duplicate(int_of(info, 0)), listener = Fd::duplicate(int_of(info, 1))] {
          const Fd map = map_of(listener);
          const std::vector<bpf_insn> instructions = program_for(map);
          bpf_attr load{};
          load.prog_type = BPF_PROG_TYPE_SK_LOOKUP;
          load.expected_attach_type = BPF_SK_LOOKUP;
          load.insns = address_of(instructions.data());
          load.insn_cnt = static_cast<uint32_t>(instructions.size());
          load.license = address_of("Apache-2.0");
          const Fd program = bpf(BPF_PROG_LOAD, load, "sk_lookup");
          bpf_attr link{};
          link.link_create.prog_fd = static_cast<uint32_t>(program.get());
          link.link_create.target_fd = static_cast<uint32_t>(network.get());
          link.link_create.attach_type = BPF_SK_LOOKUP;
          return bpf(BPF_LINK_CREATE, link, "sk_lookup");
        },
        fd_to_js);
  } catch (const Failure& failure) {
    return rejected(env, failure);
  }
}

}  // namespace

void init_steering(Napi::Env env, Napi::Object exports) {
  exports.Set("steerStreams", Napi::Function::New(env, steer_streams));
}

}  // namespace skerry
