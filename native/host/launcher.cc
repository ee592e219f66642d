// Prepares a process in ways that a process with threads cannot, and becomes the command after `--`.
//
// One thread, no configuration, no environment looked at: options are carried out in the order below, whatever theirs is,
// and the first that fails ends it with one line on stderr and status 125. See usage() for the options.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// Status of a failure before the command runs, as container engines use it.
constexpr int FAILED = 125;
constexpr size_t MOST_LAYERS = 128;

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[1024];
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "skerry-launcher: %s\n", text);
  _exit(FAILED);
}

[[noreturn]] void fail_errno(const char* what, const std::string& about) {
  const int error = errno;
  fail("%s %s: %s", what, about.c_str(), strerror(error));
}

void check(bool ok, const char* what, const std::string& about = "") {
  if (!ok) fail_errno(what, about);
}

/// A descriptor that closes with its scope.
class Fd {
 public:
  explicit Fd(long fd) : fd_(static_cast<int>(fd)) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&&) = delete;
  Fd(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// Ids from `inside` on are those from `outside` on.
struct Range {
  uint32_t inside, outside, count;
};

uint64_t number(std::string_view text, const char* option, uint64_t most = UINT32_MAX) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) {
    fail("%s: \"%.*s\" is not a number that it takes", option, static_cast<int>(text.size()), text.data());
  }
  return value;
}

/// `A:B:C`, each part as text; exactly `count` of them.
std::vector<std::string_view> parts(std::string_view text, size_t count, const char* option) {
  std::vector<std::string_view> found;
  for (size_t from = 0;;) {
    const size_t colon = text.find(':', from);
    found.push_back(text.substr(from, colon - from));
    if (colon == std::string_view::npos) break;
    from = colon + 1;
  }
  if (found.size() != count) fail("%s: takes %zu values with colons between", option, count);
  return found;
}

Range range(std::string_view text, const char* option) {
  const auto [inside, outside, count] = [&] {
    const auto three = parts(text, 3, option);
    return Range{static_cast<uint32_t>(number(three[0], option)), static_cast<uint32_t>(number(three[1], option)),
                 static_cast<uint32_t>(number(three[2], option))};
  }();
  if (count == 0 || inside + uint64_t{count} > UINT32_MAX || outside + uint64_t{count} > UINT32_MAX) {
    fail("%s: the range is empty or too large", option);
  }
  return {inside, outside, count};
}

struct Bind {
  std::string source, target;
  bool writable;
  /// By the map of --idmap.
  bool mapped;
};

struct Volume {
  /// Open for reading and writing: a file with an ext4 file system.
  int image;
  std::string target;
};

struct Options {
  bool mount_namespace = false;
  std::vector<std::string> unmounts;
  /// Where they are made; empty: those of the host.
  std::string own_devices;
  std::vector<std::string> lowers;
  std::string root;
  std::optional<Range> idmap;
  std::optional<uint64_t> upper_bytes;
  std::vector<Bind> binds;
  std::vector<std::string> devices;
  std::vector<std::string> hidden, scratch;
  std::vector<Volume> volumes;
  std::vector<std::string> cgroups;
  int network_namespace = -1;
  std::optional<Range> user_namespace;
  std::string chroot;
  std::string directory;
  std::optional<uint32_t> user, group;
  std::vector<int> kept;
  std::optional<int> nice;
  bool dies_with_parent = false;
  bool as_runtime = false;
  bool isolated = false;
  bool probe = false;
  char** command = nullptr;
};

[[noreturn]] void usage() {
  puts(
      "usage: skerry-launcher [OPTION]... -- COMMAND [ARGUMENT]...\n"
      "  --mount-namespace         mounts from here on are this process's and its children's\n"
      "  --unmount PATH            takes a mount away\n"
      "  --own-devices DIR         null, zero, full, random, urandom and tty are others than those of the host, made below DIR\n"
      "  --root DIR                puts an overlay there of\n"
      "    --lower DIR             layers, the topmost first\n"
      "    --upper BYTES           and a writable one in memory of at most this size (else: read-only)\n"
      "  --bind SOURCE:TARGET      mounts a folder elsewhere; --bind-read-only\n"
      "  --device SOURCE:TARGET    mounts a device node elsewhere\n"
      "  --volume FD:DIR           mounts the folder `data` of the file system in a file there, its ids mapped as those of layers\n"
      "  --hide DIR                puts an empty folder in memory there\n"
      "  --scratch DIR             puts an empty folder in memory there that everybody may write to, 64 MiB\n"
      "  --show PATH               leaves a folder or file where it is, whatever --hide and --idmap say\n"
      "  --show-read-only PATH     the same, but not to be written and with ids mapped\n"
      "  --idmap FROM:TO:COUNT     ids of layers and binds on disk are those from TO on\n"
      "  --cgroup DIR              joins a control group\n"
      "  --network-namespace FD    enters a network namespace\n"
      "  --user-namespace IN:OUT:COUNT  is root of a new user namespace\n"
      "  --chroot DIR              sees nothing else\n"
      "  --directory DIR           starts there\n"
      "  --user UID:GID            gives up every other identity, all capabilities, and gaining any\n"
      "  --isolate                 stands alone in new namespaces of processes, IPC, host name and control groups; what waits\n"
      "                            for it outside has the same identity, and ends when it ends, with its status\n"
      "  --die-with-parent         is killed when the process that started it ends\n"
      "  --keep FD                 leaves a descriptor beside 0, 1 and 2 open\n"
      "  --nice N                  lowers the priority\n"
      "  --as-runtime              is what conmon takes for a container runtime: the command is one, whose `create` starts\n"
      "                            the container too, and whose stdin is no device\n"
      "  --probe                   prints what the kernel has of it as JSON");
  _exit(0);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--") {
      options.command = argv + i + 1;
      break;
    }
    if (name == "--help") usage();
    if (name == "--probe") {
      options.probe = true;
      continue;
    }
    if (name == "--mount-namespace") {
      options.mount_namespace = true;
      continue;
    }
    if (name == "--isolate") {
      options.isolated = true;
      continue;
    }
    if (name == "--die-with-parent") {
      options.dies_with_parent = true;
      continue;
    }
    if (name == "--as-runtime") {
      options.as_runtime = true;
      continue;
    }
    if (i + 1 >= argc) fail("%s: unknown, or its value is missing", argv[i]);
    const char* option = argv[i];
    const std::string value = argv[++i];
    if (value.empty()) fail("%s: its value is empty", option);
    if (name == "--unmount") options.unmounts.push_back(value);
    else if (name == "--own-devices") options.own_devices = value;
    else if (name == "--lower") options.lowers.push_back(value);
    else if (name == "--root") options.root = value;
    else if (name == "--upper") options.upper_bytes = number(value, option, UINT64_MAX / 2);
    else if (name == "--idmap") options.idmap = range(value, option);
    else if (name == "--volume") {
      const size_t colon = value.find(':');
      if (colon == std::string::npos) fail("%s: takes a descriptor, a colon and a folder", option);
      const auto image = number(std::string_view(value).substr(0, colon), option, INT32_MAX);
      options.volumes.push_back({static_cast<int>(image), value.substr(colon + 1)});
    } else if (name == "--device") {
      const auto two = parts(value, 2, option);
      options.devices.push_back(std::string(two[0]));
      options.binds.push_back({std::string(two[0]), std::string(two[1]), true, false});
    } else if (name == "--hide") options.hidden.push_back(value);
    else if (name == "--scratch") options.scratch.push_back(value);
    else if (name == "--show") options.binds.push_back({value, value, true, false});
    else if (name == "--show-read-only") options.binds.push_back({value, value, false, true});
    else if (name == "--bind" || name == "--bind-read-only") {
      const auto two = parts(value, 2, option);
      options.binds.push_back({std::string(two[0]), std::string(two[1]), name == "--bind", true});
    } else if (name == "--cgroup") options.cgroups.push_back(value);
    else if (name == "--network-namespace") options.network_namespace = static_cast<int>(number(value, option, INT32_MAX));
    else if (name == "--user-namespace") options.user_namespace = range(value, option);
    else if (name == "--chroot") options.chroot = value;
    else if (name == "--directory") options.directory = value;
    else if (name == "--user") {
      const auto two = parts(value, 2, option);
      options.user = static_cast<uint32_t>(number(two[0], option, UINT32_MAX - 1));
      options.group = static_cast<uint32_t>(number(two[1], option, UINT32_MAX - 1));
    } else if (name == "--keep") options.kept.push_back(static_cast<int>(number(value, option, INT32_MAX)));
    else if (name == "--nice") options.nice = static_cast<int>(number(value, option, 19));
    else fail("%s: unknown option", option);
  }
  if (options.probe) return options;
  if (!options.command || !options.command[0]) fail("no command after --");
  if (options.root.empty() != options.lowers.empty()) fail("--root and --lower go together");
  if (options.upper_bytes && options.root.empty()) fail("--upper: there is no --root");
  if (options.lowers.size() > MOST_LAYERS) fail("more than %zu layers", MOST_LAYERS);
  return options;
}

// What glibc 2.36 has no wrappers for.
Fd open_tree_clone(const std::string& path) {
  return Fd(syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
}

bool attach(const Fd& mount, const std::string& target) {
  return syscall(SYS_move_mount, mount.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

bool set_attributes(const Fd& mount, uint64_t set, int user_namespace = -1) {
  mount_attr attributes{};
  attributes.attr_set = set;
  if (user_namespace >= 0) attributes.userns_fd = static_cast<uint64_t>(user_namespace);
  return syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0;
}

void write_file(const std::string& path, const std::string& text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  check(file.ok(), "cannot open", path);
  check(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()), "cannot write", path);
}

std::string map_line(const Range& range) {
  return std::to_string(range.inside) + " " + std::to_string(range.outside) + " " + std::to_string(range.count) + "\n";
}

/// A user namespace with this map and nobody in it.
Fd user_namespace_of(const Range& map) {
  int ready[2], done[2];
  check(pipe2(ready, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0, "cannot make a pipe");
  const pid_t child = fork();
  check(child >= 0, "cannot fork");
  if (child == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(errno);
    char byte = 0;
    (void)!write(ready[1], &byte, 1);
    close(done[1]);
    (void)!read(done[0], &byte, 1);
    _exit(0);
  }
  close(ready[1]);
  char byte;
  if (read(ready[0], &byte, 1) != 1) {
    int status = 0;
    waitpid(child, &status, 0);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    fail_errno("cannot make a user namespace", "");
  }
  const std::string proc = "/proc/" + std::to_string(child);
  write_file(proc + "/uid_map", map_line(map));
  write_file(proc + "/gid_map", map_line(map));
  Fd result(open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  check(result.ok(), "cannot open the user namespace");
  close(done[0]);
  close(done[1]);
  close(ready[0]);
  waitpid(child, nullptr, 0);
  return result;
}

void configure(const Fd& context, const char* key, const std::string& value) {
  check(syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) == 0, "overlay option", key);
}

Fd mounted(const Fd& context, uint64_t attributes) {
  check(syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0, "cannot make the file system");
  Fd mount(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, attributes));
  check(mount.ok(), "cannot mount the file system");
  return mount;
}

Fd file_system(const char* type) {
  Fd context(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
  check(context.ok(), "the kernel has no file system", type);
  return context;
}

/// A place in memory below which mounts and what is written over the layers have their folders; the overlay covers it.
void mount_scratch(const std::string& at, uint64_t bytes) {
  const Fd context = file_system("tmpfs");
  configure(context, "size", std::to_string(bytes));
  configure(context, "mode", "0700");
  // One inode for each 4 KiB, so that empty files are bounded too.
  configure(context, "nr_inodes", std::to_string(MOST_LAYERS + 64 + bytes / 4096));
  check(attach(mounted(context, MOUNT_ATTR_NODEV), at), "cannot attach memory at", at);
}

void make_folder(const std::string& path, uint32_t owner) {
  check(mkdir(path.c_str(), 0755) == 0, "cannot make", path);
  check(chown(path.c_str(), owner, owner) == 0, "cannot give away", path);
}

void set_flag(const Fd& context, const char* key) {
  check(syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) == 0, "overlay option", key);
}

/// Before Linux 6.13 an overlay takes its layers by path alone, and few bytes of that: short ones, from where we stand.
void add_layers_by_path(const Fd& context, const std::vector<Fd>& layers, const std::string& scratch, const char* prefix) {
  check(chdir(scratch.c_str()) == 0, "cannot change to", scratch);
  std::string paths;
  for (size_t i = 0; i < layers.size(); i++) {
    const std::string name = prefix + std::to_string(i);
    make_folder(name, 0);
    check(attach(layers[i], name), "cannot attach layer", name);
    paths += (i == 0 ? "" : ":") + name;
  }
  configure(context, "lowerdir", paths);
}

bool add_layers(const Fd& context, const std::vector<Fd>& layers) {
  for (const Fd& layer : layers) {
    if (syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FD, "lowerdir+", nullptr, layer.get()) != 0) return false;
  }
  return true;
}

/// An overlay of these layers, the topmost first, that is not made yet. `prefix`: of names in the scratch folder.
Fd overlay_of(const std::vector<Fd>& layers, const std::string& scratch, const char* prefix) {
  Fd context = file_system("overlay");
  if (add_layers(context, layers)) return context;
  Fd other = file_system("overlay");
  add_layers_by_path(other, layers, scratch, prefix);
  return other;
}

/// Whether files there can have attributes of `user.`: in memory since Linux 6.6.
bool takes_user_attributes(const std::string& folder) {
  return setxattr(folder.c_str(), "user.skerry", "", 0, 0) == 0 && removexattr(folder.c_str(), "user.skerry") == 0;
}

void mount_root(const Options& options, const std::optional<Fd>& user_namespace) {
  std::vector<Fd> layers;
  for (const std::string& lower : options.lowers) {
    layers.push_back(open_tree_clone(lower));
    check(layers.back().ok(), "cannot open the layer", lower);
    if (user_namespace) {
      check(set_attributes(layers.back(), MOUNT_ATTR_IDMAP, user_namespace->get()), "cannot map the ids of", lower);
    }
  }
  const std::string& scratch = options.root;
  mount_scratch(scratch, options.upper_bytes.value_or(4096));
  // What hides folders of lower layers is told in layers by attributes that the root of a user namespace may write. What is
  // written above has them too, or else those of `trusted.`, and an overlay reads one kind: then the layers are one below.
  const bool one_kind = !options.upper_bytes || takes_user_attributes(scratch);
  if (!one_kind && layers.size() > 1) {
    const Fd context = overlay_of(layers, scratch, "");
    set_flag(context, "userxattr");
    Fd merged = mounted(context, MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY);
    layers.clear();
    layers.push_back(std::move(merged));
  }
  const Fd context = overlay_of(layers, scratch, one_kind ? "" : "merged");
  if (one_kind) set_flag(context, "userxattr");
  if (options.upper_bytes) {
    const uint32_t owner = options.idmap ? options.idmap->outside : 0;
    for (const char* name : {"/upper", "/work"}) make_folder(scratch + name, owner);
    configure(context, "upperdir", scratch + "/upper");
    configure(context, "workdir", scratch + "/work");
    // Nothing of it outlives the container: there is nothing to keep safe.
    set_flag(context, "volatile");
  }
  const Fd overlay = mounted(context, MOUNT_ATTR_NODEV | (options.upper_bytes ? 0 : MOUNT_ATTR_RDONLY));
  check(attach(overlay, options.root), "cannot attach the root at", options.root);
  check(chdir("/") == 0, "cannot change to", "/");
}

/// A runtime gives /dev/null, where that is the input of a container, to the container's root, and binds it into it: of the
/// host's, it could take everybody's rights away. They are made below a folder and stay when it is uncovered.
void own_devices(const std::string& at) {
  struct Device {
    const char* name;
    unsigned major, minor;
  };
  constexpr Device DEVICES[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  const Fd context = file_system("tmpfs");
  configure(context, "size", "4096");
  configure(context, "mode", "0755");
  check(attach(mounted(context, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), at), "cannot attach memory at", at);
  for (const auto& [name, major, minor] : DEVICES) {
    const std::string made = at + "/" + name;
    check(mknod(made.c_str(), S_IFCHR | 0666, makedev(major, minor)) == 0, "cannot make the device", made);
    // Whatever the umask is.
    check(chmod(made.c_str(), 0666) == 0, "cannot open to all", made);
    const Fd node = open_tree_clone(made);
    check(node.ok(), "cannot open", made);
    check(attach(node, std::string("/dev/") + name), "cannot attach the device", name);
  }
  check(umount2(at.c_str(), MNT_DETACH) == 0, "cannot unmount", at);
}

Fd open_bind(const Bind& bind, bool is_device, const std::optional<Fd>& user_namespace) {
  Fd tree = open_tree_clone(bind.source);
  check(tree.ok(), "cannot open", bind.source);
  if (user_namespace && bind.mapped) check(set_attributes(tree, MOUNT_ATTR_IDMAP, user_namespace->get()), "cannot map the ids of", bind.source);
  const uint64_t device = is_device ? 0 : MOUNT_ATTR_NODEV;
  check(set_attributes(tree, device | MOUNT_ATTR_NOSUID | (bind.writable ? 0 : MOUNT_ATTR_RDONLY)), "cannot restrict", bind.source);
  return tree;
}

/// A loop device that shows this file already. Two of them on one file would be two file systems that know nothing of each other.
std::optional<Fd> loop_of(const struct stat& image) {
  const std::unique_ptr<DIR, int (*)(DIR*)> devices(opendir("/sys/block"), closedir);
  check(devices != nullptr, "cannot list", "/sys/block");
  while (const dirent* entry = readdir(devices.get())) {
    const std::string name = entry->d_name;
    if (!name.starts_with("loop") || access(("/sys/block/" + name + "/loop").c_str(), F_OK) != 0) continue;
    Fd device(open(("/dev/" + name).c_str(), O_RDWR | O_CLOEXEC));
    if (!device.ok()) continue;
    loop_info64 info{};
    // Held open, it is not given back meanwhile.
    if (ioctl(device.get(), LOOP_GET_STATUS64, &info) != 0) continue;
    if (info.lo_device == image.st_dev && info.lo_inode == image.st_ino) return device;
  }
  return std::nullopt;
}

/// A device that shows the file, and is given back when nobody has it mounted or open.
Fd loop_device(int image) {
  struct stat file;
  check(fstat(image, &file) == 0, "cannot look at the volume");
  if (!S_ISREG(file.st_mode)) fail("the volume is no file");
  // One launcher at a time looks for a device or makes one.
  check(flock(image, LOCK_EX) == 0, "cannot lock the volume");
  if (auto found = loop_of(file)) return std::move(*found);
  const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  check(control.ok(), "cannot open", "/dev/loop-control");
  for (int tries = 0; tries < 64; tries++) {
    const int free = ioctl(control.get(), LOOP_CTL_GET_FREE);
    check(free >= 0, "there is no free loop device");
    const std::string path = "/dev/loop" + std::to_string(free);
    // Where nothing makes them by itself.
    if (mknod(path.c_str(), S_IFBLK | 0600, makedev(7, static_cast<unsigned>(free))) != 0) {
      check(errno == EEXIST, "cannot make", path);
    }
    Fd device(open(path.c_str(), O_RDWR | O_CLOEXEC));
    check(device.ok(), "cannot open", path);
    loop_config config{};
    config.fd = static_cast<uint32_t>(image);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return device;
    // Somebody else was faster.
    check(errno == EBUSY, "cannot use", path);
  }
  fail("no loop device could be had");
}

/// On a device that has no name where we stand, perhaps: by its number.
std::string device_path(const Fd& device) {
  struct stat found;
  check(fstat(device.get(), &found) == 0, "cannot look at the loop device");
  return "/dev/loop" + std::to_string(minor(found.st_rdev));
}

void mount_volume(const Volume& volume, const std::optional<Fd>& user_namespace) {
  const Fd device = loop_device(volume.image);
  const Fd context = file_system("ext4");
  configure(context, "source", device_path(device));
  // What is deleted gives its room back to the disk below.
  check(syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FLAG, "discard", nullptr, 0) == 0, "ext4 option", "discard");
  const Fd whole = mounted(context, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
  check(attach(whole, volume.target), "cannot attach the volume at", volume.target);
  const std::string inside = volume.target + "/data";
  const Fd tree = open_tree_clone(inside);
  check(tree.ok(), "cannot open", inside);
  if (user_namespace) check(set_attributes(tree, MOUNT_ATTR_IDMAP, user_namespace->get()), "cannot map the ids of", inside);
  check(umount2(volume.target.c_str(), MNT_DETACH) == 0, "cannot unmount", volume.target);
  check(attach(tree, volume.target), "cannot attach the volume at", volume.target);
  check(flock(volume.image, LOCK_UN) == 0, "cannot unlock the volume");
}

/// An empty folder in memory.
void hide(const std::string& path, const char* mode) {
  const Fd context = file_system("tmpfs");
  configure(context, "mode", mode);
  configure(context, "size", "64m");
  check(attach(mounted(context, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), path), "cannot hide", path);
}

/// Folders down to `path`, and what is mounted on there, where they are missing.
void make_target(const std::string& path, bool is_folder) {
  struct stat found;
  if (stat(path.c_str(), &found) == 0) return;
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string above = path.substr(0, slash);
    check(mkdir(above.c_str(), 0755) == 0 || errno == EEXIST, "cannot make", above);
  }
  if (is_folder) check(mkdir(path.c_str(), 0755) == 0, "cannot make", path);
  else check(Fd(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)).ok(), "cannot make", path);
}

void attach_bind(const Bind& bind, const Fd& tree) {
  struct stat source;
  check(fstatat(tree.get(), "", &source, AT_EMPTY_PATH) == 0, "cannot look at", bind.source);
  make_target(bind.target, S_ISDIR(source.st_mode));
  check(attach(tree, bind.target), "cannot attach", bind.target);
}

void mounts(const Options& options) {
  if (!options.mount_namespace && options.root.empty() && options.binds.empty() && options.hidden.empty() &&
      options.scratch.empty() && options.volumes.empty() && options.unmounts.empty() && options.own_devices.empty()) {
    return;
  }
  check(unshare(CLONE_NEWNS) == 0, "cannot make a mount namespace");
  check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "cannot make mounts private");
  for (const std::string& path : options.unmounts) check(umount2(path.c_str(), MNT_DETACH) == 0, "cannot unmount", path);
  std::optional<Fd> user_namespace;
  if (options.idmap) user_namespace.emplace(user_namespace_of(*options.idmap));
  if (!options.own_devices.empty()) own_devices(options.own_devices);
  if (!options.root.empty()) mount_root(options, user_namespace);
  for (const Volume& volume : options.volumes) mount_volume(volume, user_namespace);
  std::vector<Fd> trees;
  for (const Bind& bind : options.binds) {
    const bool is_device = std::find(options.devices.begin(), options.devices.end(), bind.source) != options.devices.end();
    trees.push_back(open_bind(bind, is_device, user_namespace));
  }
  for (const std::string& path : options.hidden) hide(path, "0755");
  for (const std::string& path : options.scratch) hide(path, "1777");
  for (size_t i = 0; i < trees.size(); i++) attach_bind(options.binds[i], trees[i]);
}

/// Root of a new user namespace; the parent's side of it is written by a child that stayed outside.
void enter_user_namespace(const Range& map) {
  const Fd made = user_namespace_of(map);
  check(setns(made.get(), CLONE_NEWUSER) == 0, "cannot enter the user namespace");
  check(setgroups(0, nullptr) == 0, "cannot drop groups");
  check(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "cannot become root of the user namespace");
}

void drop_privileges(uint32_t user, uint32_t group) {
  check(prctl(PR_SET_KEEPCAPS, 0) == 0, "cannot give up capabilities");
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
    check(prctl(PR_CAPBSET_DROP, capability) == 0, "cannot drop capability", std::to_string(capability));
  }
  check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0, "cannot clear ambient capabilities");
  check(setgroups(0, nullptr) == 0, "cannot drop groups");
  check(setresgid(group, group, group) == 0, "cannot become group", std::to_string(group));
  check(setresuid(user, user, user) == 0, "cannot become user", std::to_string(user));
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  check(syscall(SYS_capset, &header, none) == 0, "cannot clear capabilities");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "cannot refuse new privileges");
}

/// `parent`: who it was when this began; it may have ended since, which the kernel tells nobody.
void die_with(pid_t parent) {
  check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "cannot ask for a signal at the end of the parent");
  if (getppid() != parent) fail("the process that started it has ended");
}

/// Goes on in a child, the first process of the namespace that was made for it; does not return in the parent.
void stand_alone() {
  int alive[2];
  check(pipe2(alive, O_CLOEXEC) == 0, "cannot make a pipe");
  const pid_t child = fork();
  check(child >= 0, "cannot fork");
  if (child == 0) {
    close(alive[1]);
    check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "cannot ask for a signal at the end of the parent");
    // Which may have ended before: it has no number in here to look at.
    pollfd state{alive[0], POLLIN, 0};
    if (poll(&state, 1, 0) != 0) fail("the process that started it has ended");
    return;
  }
  // Whoever reads what the command writes must see its end.
  syscall(SYS_close_range, 0, static_cast<unsigned>(alive[1]) - 1, 0);
  syscall(SYS_close_range, static_cast<unsigned>(alive[1]) + 1, ~0U, 0);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void close_others(const std::vector<int>& kept) {
  check(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "cannot close descriptors");
  for (const int fd : kept) check(fcntl(fd, F_SETFD, 0) == 0, "cannot keep descriptor", std::to_string(fd));
}

/// The command with `run --detach` for its `create`: one start of the runtime, and not a second one with `start`.
std::vector<char*> run_at_once(char** command) {
  static char run[] = "run", detach[] = "--detach";
  std::vector<char*> result;
  bool found = false;
  for (char** word = command; *word; word++) {
    if (found || std::string_view(*word) != "create") {
      result.push_back(*word);
      continue;
    }
    found = true;
    result.insert(result.end(), {run, detach});
  }
  if (!found) fail("--as-runtime: the command has no `create`");
  result.push_back(nullptr);
  return result;
}

/// A runtime gives stdin to root of the container, who could then change the mode of the host's /dev/null: an end of its own.
void leave_device_stdin() {
  struct stat found;
  if (fstat(STDIN_FILENO, &found) != 0 || !S_ISCHR(found.st_mode)) return;
  int ends[2];
  check(pipe2(ends, O_CLOEXEC) == 0, "cannot make a pipe");
  check(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO, "cannot change stdin");
}

/// What the kernel has of it, each tried in a child so that nothing stays.
int probe() {
  const auto works = [](auto&& attempt) {
    const pid_t child = fork();
    if (child == 0) {
      const int nowhere = open("/dev/null", O_WRONLY);
      dup2(nowhere, STDERR_FILENO);
      attempt();
      _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
  };
  const bool user = works([] { user_namespace_of({0, 1000, 1}); });
  const bool mount_ns = works([] { check(unshare(CLONE_NEWNS) == 0, ""); });
  const bool network = works([] { check(unshare(CLONE_NEWNET) == 0, ""); });
  const bool overlay = works([] { file_system("overlay"); });
  const auto overlay_of = [](bool idmapped) {
    check(unshare(CLONE_NEWNS) == 0, "");
    check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "");
    check(mount("tmpfs", "/mnt", "tmpfs", 0, nullptr) == 0, "");
    check(mkdir("/mnt/lower", 0755) == 0 && mkdir("/mnt/root", 0755) == 0, "");
    Options options;
    options.root = "/mnt/root";
    options.lowers = {"/mnt/lower"};
    options.upper_bytes = 1 << 20;
    if (idmapped) options.idmap = Range{0, 1000, 10};
    std::optional<Fd> user_namespace;
    if (options.idmap) user_namespace.emplace(user_namespace_of(*options.idmap));
    mount_root(options, user_namespace);
  };
  const bool layers = works([&] { overlay_of(false); });
  const bool idmapped = works([&] { overlay_of(true); });
  const auto word = [](bool value) { return value ? "true" : "false"; };
  printf(
      "{\"userNamespaces\":%s,\"mountNamespaces\":%s,\"networkNamespaces\":%s,\"overlay\":%s,\"overlayLayers\":%s,"
      "\"idmappedLayers\":%s}\n",
      word(user), word(mount_ns), word(network), word(overlay), word(layers), word(idmapped));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const pid_t parent = getppid();
  const Options options = parse(argc, argv);
  if (options.probe) return probe();
  for (const std::string& group : options.cgroups) write_file(group + "/cgroup.procs", "0");
  if (options.nice) check(setpriority(PRIO_PROCESS, 0, *options.nice) == 0, "cannot lower the priority");
  mounts(options);
  if (options.network_namespace >= 0) {
    check(setns(options.network_namespace, CLONE_NEWNET) == 0, "cannot enter the network namespace");
  }
  close_others(options.kept);
  // The folder is opened from outside: inside the user namespace it may be out of reach.
  const Fd root(options.chroot.empty() ? -1 : open(options.chroot.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!options.chroot.empty()) check(root.ok(), "cannot open", options.chroot);
  if (options.user_namespace) enter_user_namespace(*options.user_namespace);
  if (root.ok()) {
    check(fchdir(root.get()) == 0 && chroot(".") == 0, "cannot change the root to", options.chroot);
  }
  if (!options.directory.empty()) check(chdir(options.directory.c_str()) == 0, "cannot change to", options.directory);
  if (options.isolated) {
    check(unshare(CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) == 0, "cannot make namespaces");
  }
  if (options.user) drop_privileges(*options.user, *options.group);
  // Another identity takes back what was asked for before.
  if (options.dies_with_parent) die_with(parent);
  if (options.isolated) stand_alone();
  if (options.as_runtime) {
    leave_device_stdin();
    execv(options.command[0], run_at_once(options.command).data());
  } else execv(options.command[0], options.command);
  fail_errno("cannot run", options.command[0]);
}
