// What KVM can do on this machine, and how fast: on a machine that is itself a guest it may be there and yet emulate every
// instruction.
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>

#include "support.h"

namespace skerry {
namespace {

constexpr const char* DEVICE = "/dev/kvm";

struct Extension {
  const char* name;
  int number;
};

/// Those that a virtual machine monitor for small guests asks for.
constexpr Extension EXTENSIONS[] = {
    {"USER_MEMORY", KVM_CAP_USER_MEMORY},
    {"IRQCHIP", KVM_CAP_IRQCHIP},
    {"IRQFD", KVM_CAP_IRQFD},
    {"IOEVENTFD", KVM_CAP_IOEVENTFD},
    {"IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT},
    {"SYNC_MMU", KVM_CAP_SYNC_MMU},
    {"NR_VCPUS", KVM_CAP_NR_VCPUS},
    {"MAX_VCPUS", KVM_CAP_MAX_VCPUS},
    {"NR_MEMSLOTS", KVM_CAP_NR_MEMSLOTS},
    {"MP_STATE", KVM_CAP_MP_STATE},
#if defined(__x86_64__)
    {"SET_TSS_ADDR", KVM_CAP_SET_TSS_ADDR},
    {"EXT_CPUID", KVM_CAP_EXT_CPUID},
    {"TSC_CONTROL", KVM_CAP_TSC_CONTROL},
    {"TSC_DEADLINE_TIMER", KVM_CAP_TSC_DEADLINE_TIMER},
    {"ADJUST_CLOCK", KVM_CAP_ADJUST_CLOCK},
    {"XSAVE", KVM_CAP_XSAVE},
#endif
};

Fd open_device() {
  Fd fd(open(DEVICE, O_RDWR | O_CLOEXEC));
  if (!fd.valid()) fail("open", DEVICE);
  return fd;
}

struct Probed {
  int api = 0;
  std::array<int, std::size(EXTENSIONS)> extensions{};
  bool makes_machines = false;
};

/// kvmProbe() → { apiVersion, extensions: { NAME: number }, makesMachines }
Napi::Value probe(const Napi::CallbackInfo& info) {
  return on_pool(
      info.Env(),
      [] {
        const Fd device = open_device();
        Probed made;
        made.api = ioctl(device.get(), KVM_GET_API_VERSION, 0);
        if (made.api < 0) fail("ioctl", DEVICE);
        for (size_t i = 0; i < std::size(EXTENSIONS); i++)
          made.extensions[i] = std::max(0, ioctl(device.get(), KVM_CHECK_EXTENSION, EXTENSIONS[i].number));
        const Fd machine(ioctl(device.get(), KVM_CREATE_VM, 0));
        made.makes_machines = machine.valid();
        return made;
      },
      [](Napi::Env env, const Probed& probed) {
        Napi::Object extensions = Napi::Object::New(env);
        for (size_t i = 0; i < std::size(EXTENSIONS); i++)
          extensions.Set(EXTENSIONS[i].name, Napi::Number::New(env, probed.extensions[i]));
        Napi::Object made = Napi::Object::New(env);
        made.Set("apiVersion", Napi::Number::New(env, probed.api));
        made.Set("extensions", extensions);
        made.Set("makesMachines", Napi::Boolean::New(env, probed.makes_machines));
        return made;
      });
}

struct Timing {
  double native_ns;
  double guest_ns;
  bool cut_off;
};

#if defined(__x86_64__)

constexpr uint32_t FEW = 2'000;
constexpr uint32_t MANY = 20'000;
constexpr int TRIES = 5;
/// How many times slower than native a guest may be before it is cut off.
constexpr double SLOWEST = 50;
/// Even a fast guest may lose its CPU to another process for this long, in nanoseconds.
constexpr double PATIENCE_NS = 10e6;
/// Until a guest has shown how fast it is, in nanoseconds.
constexpr double FIRST_PATIENCE_NS = 200e6;

/// KVM_SET_SIGNAL_MASK: the header's struct is of another size in C++ than in C, and the size is part of the request.
struct SignalMask {
  uint32_t length;
  std::array<char, sizeof(uint64_t)> signals;
};
static_assert(sizeof(SignalMask) == 12);
constexpr unsigned long SET_SIGNAL_MASK = _IOC(_IOC_WRITE, KVMIO, 0x8b, sizeof(uint32_t));

double now_ns() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A mapping that goes with its scope.
class Mapping {
 public:
  Mapping(size_t size, int flags, int fd) : size_(size) {
    start_ = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (start_ == MAP_FAILED) fail("mmap");
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { munmap(start_, size_); }
  void* get() const { return start_; }

 private:
  void* start_;
  size_t size_;
};

/// Ends KVM_RUN of this thread after a time, without a handler of signals, which would be the whole process's: the signal
/// is blocked on this thread but within KVM_RUN, which it interrupts and stays pending.
class Alarm {
 public:
  Alarm() {
    sigemptyset(&own_);
    sigaddset(&own_, SIGNAL);
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &own_, &before);
    inside_ = before;
    sigdelset(&inside_, SIGNAL);
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGNAL;
    event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
    if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) fail("timer_create");
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() {
    timer_delete(timer_);
    drain();
  }

  void set(double ns) {
    itimerspec when{};
    const auto whole = static_cast<int64_t>(ns);
    when.it_value.tv_sec = whole / 1'000'000'000;
    when.it_value.tv_nsec = whole % 1'000'000'000;
    timer_settime(timer_, 0, &when, nullptr);
  }

  void clear() {
    const itimerspec never{};
    timer_settime(timer_, 0, &never, nullptr);
    drain();
  }

  /// The signals that stay blocked within KVM_RUN.
  const sigset_t& inside() const { return inside_; }

 private:
  static constexpr int SIGNAL = SIGUSR2;

  void drain() {
    const timespec at_once{};
    while (sigtimedwait(&own_, nullptr, &at_once) > 0) {
    }
  }

  timer_t timer_{};
  sigset_t own_{};
  sigset_t inside_{};
};

/// A machine of one CPU and one page, in real mode: counts down and halts.
class Guest {
 public:
  explicit Guest(const Fd& device, const Alarm& alarm)
      : memory_(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1),
        machine_(ioctl_or_fail(device, KVM_CREATE_VM, 0)),
        cpu_((give_memory(), ioctl_or_fail(machine_, KVM_CREATE_VCPU, 0))),
        run_(run_size(device), MAP_SHARED, cpu_.get()) {
    // dec ecx; jnz to it; hlt
    constexpr uint8_t CODE[] = {0x66, 0x49, 0x75, 0xfc, 0xf4};
    memcpy(memory_.get(), CODE, sizeof CODE);
    SignalMask mask{sizeof mask.signals, {}};
    memcpy(mask.signals.data(), &alarm.inside(), sizeof mask.signals);
    if (ioctl(cpu_.get(), SET_SIGNAL_MASK, &mask) != 0) fail("ioctl", DEVICE);
  }

  /// @returns nanoseconds; infinity when it took longer than the limit
  double time(uint32_t iterations, Alarm& alarm, double limit_ns) {
    kvm_sregs segments{};
    if (ioctl(cpu_.get(), KVM_GET_SREGS, &segments) != 0) fail("ioctl", DEVICE);
    segments.cs.base = START;
    segments.cs.selector = START >> 4;
    if (ioctl(cpu_.get(), KVM_SET_SREGS, &segments) != 0) fail("ioctl", DEVICE);
    kvm_regs registers{};
    registers.rip = 0;
    registers.rcx = iterations;
    registers.rflags = 2;
    if (ioctl(cpu_.get(), KVM_SET_REGS, &registers) != 0) fail("ioctl", DEVICE);
    alarm.set(limit_ns);
    const double started = now_ns();
    const int status = ioctl(cpu_.get(), KVM_RUN, 0);
    const double took = now_ns() - started;
    const int error = errno;
    alarm.clear();
    if (status != 0) {
      if (error == EINTR) return std::numeric_limits<double>::infinity();
      throw Failure{error, "ioctl", DEVICE};
    }
    const auto* run = static_cast<const kvm_run*>(run_.get());
    // Whatever else it does than halt is a guest that cannot run here.
    if (run->exit_reason != KVM_EXIT_HLT) throw Failure{ENOTSUP, "KVM_RUN", DEVICE};
    return took;
  }

 private:
  static constexpr size_t PAGE = 4096;
  static constexpr uint64_t START = 0x1000;

  static Fd ioctl_or_fail(const Fd& fd, unsigned long request, unsigned long argument) {
    Fd made(ioctl(fd.get(), request, argument));
    if (!made.valid()) fail("ioctl", DEVICE);
    return made;
  }

  static size_t run_size(const Fd& device) {
    const int size = ioctl(device.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < 0) fail("ioctl", DEVICE);
    return static_cast<size_t>(size);
  }

  void give_memory() {
    kvm_userspace_memory_region region{};
    region.guest_phys_addr = START;
    region.memory_size = PAGE;
    region.userspace_addr = reinterpret_cast<uint64_t>(memory_.get());
    if (ioctl(machine_.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) fail("ioctl", DEVICE);
  }

  Mapping memory_;
  Fd machine_;
  Fd cpu_;
  Mapping run_;
};

double time_native(uint32_t iterations) {
  const double started = now_ns();
  asm volatile("1: dec %0\n jnz 1b" : "+r"(iterations) : : "cc");
  return now_ns() - started;
}

/// Of several runs the fastest: others had to share the CPU.
template <typename Run>
double fastest(int tries, Run run) {
  double best = run();
  for (int i = 1; i < tries; i++) best = std::min(best, run());
  return best;
}

Timing calibrate_here() {
  const Fd device = open_device();
  Alarm alarm;
  Guest guest(device, alarm);
  // What it costs to enter and to leave is no part of how fast a guest runs: the difference of two lengths is without it.
  constexpr double BETWEEN = MANY - FEW;
  const double native = fastest(TRIES, [] { return time_native(MANY * 10); }) / (MANY * 10);
  double limit = FIRST_PATIENCE_NS;
  const double few = fastest(TRIES, [&] {
    const double took = guest.time(FEW, alarm, limit);
    // The first run also pays for making the pages; later ones need not wait as long as that.
    limit = std::min(limit, took * 4 + PATIENCE_NS);
    return took;
  });
  const double most = few + native * BETWEEN * SLOWEST;
  if (few == std::numeric_limits<double>::infinity()) return {native, FIRST_PATIENCE_NS / FEW, true};
  const double many = fastest(2, [&] { return guest.time(MANY, alarm, most + PATIENCE_NS); });
  if (many == std::numeric_limits<double>::infinity()) return {native, (most + PATIENCE_NS - few) / BETWEEN, true};
  return {native, std::max(0.0, many - few) / BETWEEN, false};
}

#else

/// The tiny guest is written for x86-64 only.
Timing calibrate_here() { throw Failure{ENOTSUP, "KVM_RUN", DEVICE}; }

#endif

/// kvmCalibrate() → { nativeNs, guestNs, cutOff }
Napi::Value calibrate(const Napi::CallbackInfo& info) {
  return on_thread(info.Env(), calibrate_here, [](Napi::Env env, const Timing& timing) {
    Napi::Object made = Napi::Object::New(env);
    made.Set("nativeNs", Napi::Number::New(env, timing.native_ns));
    made.Set("guestNs", Napi::Number::New(env, timing.guest_ns));
    made.Set("cutOff", Napi::Boolean::New(env, timing.cut_off));
    return made;
  });
}

}  // namespace

void init_kvm(Napi::Env env, Napi::Object exports) {
  exports.Set("kvmProbe", Napi::Function::New(env, probe));
  exports.Set("kvmCalibrate", Napi::Function::New(env, calibrate));
}

}  // namespace skerry
