/*
 * Ways out of a container, tried from inside, each by the system call itself: libraries and shells would fall back to
 * something else. A line for each: `NAME: refused ERRNO`, or `NAME: done`. Run by escapes.test.ts; on a host it does harm.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void told(const char *name, long result) {
  if (result >= 0)
    printf("%s: done\n", name);
  else
    printf("%s: refused %s\n", name, strerrorname_np(errno));
  fflush(stdout);
}

#define TRY(name, call) (errno = 0, told(name, (long)(call)))

/* A namespace of its own for a child, by clone(2) or clone3(2); the child ends at once. */
static long cloned(unsigned long flags) {
  const long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}

static long cloned3(uint64_t flags) {
  struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}

static long put(const char *path, const char *text) {
  const int fd = open(path, O_WRONLY);
  if (fd < 0) return -1;
  const long written = write(fd, text, strlen(text));
  const int saved = errno;
  close(fd);
  errno = saved;
  return written;
}

static void namespaces(void) {
  static const struct {
    const char *name;
    unsigned long flag;
  } kinds[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET},
               {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}};
  char name[64];
  for (size_t at = 0; at < sizeof kinds / sizeof *kinds; at++) {
    snprintf(name, sizeof name, "unshare a %s namespace", kinds[at].name);
    TRY(name, syscall(SYS_unshare, kinds[at].flag));
    if (kinds[at].flag == CLONE_NEWTIME) continue; /* not for clone(2): the bit is a signal's there */
    snprintf(name, sizeof name, "clone with a %s namespace", kinds[at].name);
    TRY(name, cloned(kinds[at].flag));
    snprintf(name, sizeof name, "clone3 with a %s namespace", kinds[at].name);
    TRY(name, cloned3(kinds[at].flag));
  }
  TRY("clone3 with a user and a mount namespace", cloned3(CLONE_NEWUSER | CLONE_NEWNS));
  static const char *const files[] = {"user", "mnt", "pid", "net", "cgroup"};
  for (size_t at = 0; at < sizeof files / sizeof *files; at++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/ns/%s", files[at]);
    const int fd = open(path, O_RDONLY);
    snprintf(name, sizeof name, "setns to %s", files[at]);
    TRY(name, fd < 0 ? -1 : syscall(SYS_setns, fd, 0));
    if (fd >= 0) close(fd);
  }
}

static void mounts(void) {
  TRY("mount a tmpfs", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
  TRY("mount proc", syscall(SYS_mount, "none", "/tmp", "proc", 0, 0));
  TRY("mount sysfs", syscall(SYS_mount, "none", "/tmp", "sysfs", 0, 0));
  TRY("mount cgroup", syscall(SYS_mount, "none", "/tmp", "cgroup", 0, "memory"));
  TRY("mount cgroup2", syscall(SYS_mount, "none", "/tmp", "cgroup2", 0, 0));
  TRY("mount the root once more, writable", syscall(SYS_mount, "none", "/", 0, MS_REMOUNT | MS_BIND, 0));
  TRY("mount /proc/sys writable", syscall(SYS_mount, "none", "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0));
  TRY("bind a folder", syscall(SYS_mount, "/proc", "/tmp", 0, MS_BIND | MS_REC, 0));
  TRY("unmount what masks", syscall(SYS_umount2, "/proc/kcore", MNT_DETACH));
  TRY("unmount /proc", syscall(SYS_umount2, "/proc", MNT_DETACH));
  TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  TRY("fspick", syscall(SYS_fspick, AT_FDCWD, "/", 0));
  TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
  TRY("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/tmp", 0));
  struct {
    uint64_t set, clear, propagation, userns;
  } attributes = {0};
  TRY("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof attributes));
  TRY("pivot_root", syscall(SYS_pivot_root, "/", "/tmp"));
  TRY("chroot", syscall(SYS_chroot, "/tmp"));
}

static void kernel(void) {
  TRY("init_module", syscall(SYS_init_module, "", 0, ""));
  TRY("finit_module", syscall(SYS_finit_module, 0, "", 0));
  TRY("delete_module", syscall(SYS_delete_module, "no-such-module", O_NONBLOCK));
  TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
  TRY("kexec_file_load", syscall(SYS_kexec_file_load, 0, 0, 0, 0, 0));
  /* Ctrl-Alt-Del on or off: what would change nothing that anybody sees. */
  TRY("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = attributes.value_size = 4;
  attributes.max_entries = 1;
  TRY("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
  struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_CPU_CLOCK};
  TRY("perf_event_open", syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
  TRY("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
  struct io_uring_params ring;
  memset(&ring, 0, sizeof ring);
  TRY("io_uring_setup", syscall(SYS_io_uring_setup, 1, &ring));
  TRY("io_uring_enter", syscall(SYS_io_uring_enter, 0, 0, 0, 0, 0, 0));
  TRY("io_uring_register", syscall(SYS_io_uring_register, 0, 0, 0, 0));
  TRY("fanotify_init", syscall(SYS_fanotify_init, 0, O_RDONLY));
  TRY("syslog", syscall(SYS_syslog, 10, 0, 0));
  TRY("swapon", syscall(SYS_swapon, "/tmp/none", 0));
  TRY("acct", syscall(SYS_acct, 0));
  TRY("iopl", syscall(SYS_iopl, 3));
  TRY("ioperm", syscall(SYS_ioperm, 0x80, 1, 1));
  struct timeval now;
  gettimeofday(&now, NULL);
  TRY("settimeofday", syscall(SYS_settimeofday, &now, 0));
  struct timespec clock;
  clock_gettime(CLOCK_REALTIME, &clock);
  TRY("clock_settime", syscall(SYS_clock_settime, CLOCK_REALTIME, &clock));
  TRY("sethostname", syscall(SYS_sethostname, "other", 5));
  TRY("setdomainname", syscall(SYS_setdomainname, "other", 5));
  TRY("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", 0, 0, 0));
  TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, 0, O_RDONLY));
  TRY("add_key", syscall(SYS_add_key, "user", "skerry-escape", "x", 1, -5 /* user session */));
  TRY("request_key", syscall(SYS_request_key, "user", "skerry-escape", 0, -2));
  TRY("keyctl", syscall(SYS_keyctl, 0 /* get keyring id */, -3, 1));
  TRY("personality without random addresses", syscall(SYS_personality, 0x0040000));
}

static void processes(void) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  TRY("ptrace a child", syscall(SYS_ptrace, PTRACE_ATTACH, child, 0, 0));
  TRY("ptrace the first process", syscall(SYS_ptrace, PTRACE_SEIZE, 1, 0, 0));
  char byte = 0;
  const struct {
    void *base;
    size_t length;
  } piece = {&byte, 1};
  TRY("process_vm_readv", syscall(SYS_process_vm_readv, child, &piece, 1, &piece, 1, 0));
  TRY("process_vm_writev", syscall(SYS_process_vm_writev, child, &piece, 1, &piece, 1, 0));
  TRY("kcmp", syscall(SYS_kcmp, child, getpid(), 1, 0, 0));
  const long pidfd = syscall(SYS_pidfd_open, child, 0);
  TRY("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
}

static void limits(void) {
  struct rlimit files, most;
  getrlimit(RLIMIT_NOFILE, &files);
  most.rlim_cur = most.rlim_max = files.rlim_max + 1;
  TRY("raise the limit of open files", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &most, 0));
  const struct rlimit core = {RLIM_INFINITY, RLIM_INFINITY};
  TRY("raise the limit of core dumps", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &core, 0));
  TRY("raise the priority", syscall(SYS_setpriority, PRIO_PROCESS, 0, -5));
  const struct sched_param realtime = {.sched_priority = 1};
  TRY("run in real time", syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &realtime));
  TRY("be killed last", put("/proc/self/oom_score_adj", "-1000"));
  TRY("write cgroup limits", put("/sys/fs/cgroup/memory.max", "max"));
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct all[2] = {{~0u, ~0u, ~0u}, {~0u, ~0u, ~0u}};
  TRY("have all capabilities", syscall(SYS_capset, &header, all));
}

static void devices(void) {
  static const char *const folders[] = {"/tmp", "/dev", "/dev/shm", "/volume", "/"};
  char name[96], path[64];
  for (size_t at = 0; at < sizeof folders / sizeof *folders; at++) {
    snprintf(path, sizeof path, "%s/device", folders[at]);
    snprintf(name, sizeof name, "make a character device in %s", folders[at]);
    TRY(name, mknod(path, S_IFCHR | 0666, makedev(1, 1)));
    snprintf(name, sizeof name, "make a block device in %s", folders[at]);
    TRY(name, mknod(path, S_IFBLK | 0666, makedev(7, 0)));
  }
  static const char *const paths[] = {"/dev/mem",      "/dev/kmem",     "/dev/port", "/dev/kmsg", "/dev/kvm",
                                      "/dev/fuse",     "/dev/net/tun",  "/dev/sda",  "/dev/vda",  "/dev/loop0",
                                      "/dev/loop-control", "/dev/vsock", "/dev/vhost-net", "/dev/userfaultfd", "/dev/bus",
                                      "/dev/console"};
  for (size_t at = 0; at < sizeof paths / sizeof *paths; at++) {
    snprintf(name, sizeof name, "open %s", paths[at]);
    TRY(name, open(paths[at], O_RDONLY));
  }
}

static void files(void) {
  static const struct {
    const char *path, *text;
  } written[] = {{"/proc/sys/kernel/core_pattern", "|/bin/sh"},
                 {"/proc/sys/kernel/modprobe", "/bin/sh"},
                 {"/proc/sys/kernel/hostname", "other"},
                 {"/proc/sys/kernel/ns_last_pid", "1000"},
                 {"/proc/sys/vm/overcommit_memory", "1"},
                 {"/proc/sys/vm/drop_caches", "1"},
                 {"/proc/sys/fs/binfmt_misc/register", ":x:M::x::/bin/sh:"},
                 {"/proc/sys/net/ipv4/ip_forward", "1"},
                 {"/proc/sys/user/max_user_namespaces", "1000"},
                 {"/proc/sysrq-trigger", "h"},
                 {"/proc/irq/default_smp_affinity", "1"},
                 {"/proc/self/uid_map", "0 0 1"},
                 {"/proc/self/gid_map", "0 0 1"},
                 {"/proc/self/setgroups", "allow"},
                 {"/proc/1/oom_score_adj", "-1000"},
                 {"/sys/kernel/uevent_helper", "/bin/sh"},
                 {"/sys/kernel/mm/transparent_hugepage/enabled", "never"},
                 {"/sys/power/state", "mem"}};
  char name[96];
  for (size_t at = 0; at < sizeof written / sizeof *written; at++) {
    snprintf(name, sizeof name, "write %s", written[at].path);
    TRY(name, put(written[at].path, written[at].text));
  }
  static const char *const read_only[] = {"/sys", "/sys/fs/cgroup", "/sys/class/net", "/proc/kpageflags", "/run/skerry"};
  for (size_t at = 0; at < sizeof read_only / sizeof *read_only; at++) {
    snprintf(name, sizeof name, "open %s", read_only[at]);
    TRY(name, open(read_only[at], O_RDONLY));
  }
}

static void sockets(void) {
  char name[64];
  /* All families but those of the internet and of Unix, and in those all but streams and datagrams. */
  for (int family = 0; family < 48; family++) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
    snprintf(name, sizeof name, "a socket of family %d", family);
    for (int kind = SOCK_STREAM; kind <= SOCK_SEQPACKET; kind++) TRY(name, socket(family, kind, 0));
  }
  TRY("a raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  TRY("a raw socket of any protocol", socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
  TRY("a raw socket of IPv6", socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
  TRY("a packet of type SOCK_PACKET", socket(AF_INET, 10 /* SOCK_PACKET */, 3));
  /* The lower half of the argument is what the kernel looks at. */
  TRY("a socket of a family behind 32 bits", syscall(SYS_socket, 0x100000000UL | AF_NETLINK, SOCK_RAW, 0));
  const int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  TRY("mark packets", setsockopt(fd, SOL_SOCKET, SO_MARK, &one, sizeof one));
  TRY("pass for other addresses", setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof one));
  close(fd);
}

/* The system calls of 32 bits are another table, which the filter must not forget. */
static void other_tables(void) {
#ifdef __x86_64__
  const pid_t child = fork();
  if (child == 0) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(21L /* mount */), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "memory");
    errno = (int)-result;
    told("mount by the table of 32 bits", result < 0 ? -1 : 0);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) printf("mount by the table of 32 bits: refused SIG%s\n", sigabbrev_np(WTERMSIG(status)));
  const pid_t x32 = fork();
  if (x32 == 0) {
    TRY("unshare by the table of x32", syscall(0x40000000L | SYS_unshare, CLONE_NEWUSER));
    _exit(0);
  }
  waitpid(x32, &status, 0);
  if (WIFSIGNALED(status)) printf("unshare by the table of x32: refused SIG%s\n", sigabbrev_np(WTERMSIG(status)));
#endif
}

/* What it was given beside its streams would lead out. */
static void descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  for (struct dirent *each; folder && (each = readdir(folder));) {
    const int fd = atoi(each->d_name);
    if (each->d_name[0] == '.' || fd <= 2 || fd == dirfd(folder)) continue;
    char path[64], target[256] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    readlink(path, target, sizeof target - 1);
    printf("the descriptor %d, %s: done\n", fd, target);
  }
}

/* `shm`: makes a piece of System V memory. `abstract NAME`: whether an abstract socket answers. */
int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "shm") == 0) {
    TRY("memory of another", shmget(0x5ce77, 4096, 0));
    TRY("memory of its own", shmget(0x5ce77, 4096, IPC_CREAT | 0666));
    return 0;
  }
  if (count == 3 && strcmp(arguments[1], "abstract") == 0) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path + 1, arguments[2], sizeof address.sun_path - 2);
    const socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(arguments[2]));
    TRY("an abstract socket", connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, length));
    return 0;
  }
  descriptors();
  namespaces();
  mounts();
  kernel();
  processes();
  limits();
  devices();
  files();
  sockets();
  other_tables();
  printf("all tried\n");
  return 0;
}
