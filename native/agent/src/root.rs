//! The root of the workload: the image's disk, a bounded place in memory above it, and what else is mounted.
use crate::failure::{Because, Failure, Result, shown};
use crate::message::{Configuration, Disk, File, FileSystem, Scratch, Volume};
use crate::sys;
use rustix::fs::{CWD, Mode, OFlags, StatVfs};
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_move, mount_remount, move_mount, open_tree,
    unmount,
};
use std::ffi::{CString, OsStr};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const FAILED: &str = "ROOT_FAILED";
const DISK: &str = "DISK_FAILED";
/// A disk that was put in the place of another one is seen a moment later.
const DISK_WAIT: Duration = Duration::from_millis(5);
const DISK_TRIES: usize = 200;
/// Files and folders that may be made in a place in memory, for each MiB of it: they take memory that its size does not count.
const INODES_PER_MIB: u64 = 256;

const LOWER: &str = "/lower";
const UPPER: &str = "/upper";
const NEW: &str = "/new";
/// Mounted before, with all that is below them.
const KEPT: [&str; 3] = ["/proc", "/sys", "/dev"];

pub struct Root {
    upper: OwnedFd,
    read_only: bool,
    volumes: Vec<PathBuf>,
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.because(FAILED, || format!("{} is no folder and cannot be made one", path.display()))
}

fn c_string(text: String) -> Result<CString> {
    CString::new(text).because(FAILED, || "an option".into())
}

fn mount_disk_once(device: &Path, disk: &Disk, place: &Path) -> rustix::io::Result<()> {
    let opened = rustix::fs::open(device, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    sys::forget_cached(opened.as_fd()).map_err(|_| rustix::io::Errno::IO)?;
    let (kind, options) = match disk.file_system {
        FileSystem::Erofs => ("erofs", c""),
        FileSystem::Squashfs => ("squashfs", c""),
        // A journal can't be replayed on a disk that is not to be written.
        FileSystem::Ext4 if disk.read_only => ("ext4", c"noload"),
        FileSystem::Ext4 => ("ext4", c""),
    };
    let mut flags = MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, disk.read_only);
    mount(device, place, kind, flags, options)
}

fn mount_disk(disk: &Disk, place: &Path) -> Result<()> {
    let device = Path::new("/dev").join(path_of(&disk.device));
    let mut tried = mount_disk_once(&device, disk, place);
    for _ in 0..DISK_TRIES {
        if tried.is_ok() {
            break;
        }
        sleep(DISK_WAIT);
        tried = mount_disk_once(&device, disk, place);
    }
    let kind = disk.file_system;
    tried.because(DISK, || format!("{} cannot be mounted as {kind:?}", device.display()))
}

fn mount_tmpfs(place: &Path, bytes: u64, mode: u32, flags: MountFlags) -> Result<()> {
    let inodes = bytes.div_ceil(1 << 20) * INODES_PER_MIB;
    let options = c_string(format!("size={bytes},nr_inodes={inodes},mode={mode:o}"))?;
    mount("tmpfs", place, "tmpfs", flags | MountFlags::NODEV, options.as_c_str())
        .because(FAILED, || format!("{bytes} bytes of memory cannot be mounted at {}", place.display()))
}

/// The new root at `NEW`; gives the folder whose use is what was written.
fn mount_overlay(configuration: &Configuration) -> Result<OwnedFd> {
    for place in [LOWER, UPPER, NEW] {
        make_folder(Path::new(place), 0o700)?;
    }
    mount_disk(&configuration.root, Path::new(LOWER))?;
    let bytes = configuration.writable_bytes.max(1 << 20);
    mount_tmpfs(Path::new(UPPER), bytes, 0o700, MountFlags::empty())?;
    for folder in ["files", "work"] {
        make_folder(&Path::new(UPPER).join(folder), 0o755)?;
    }
    let options = c_string(format!("lowerdir={LOWER},upperdir={UPPER}/files,workdir={UPPER}/work,volatile"))?;
    mount("root", NEW, "overlay", MountFlags::NODEV, options.as_c_str())
        .because(FAILED, || "the overlay cannot be mounted".into())?;
    let upper = rustix::fs::open(UPPER, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    upper.because(FAILED, || "the place above the root cannot be opened".into())
}

/// Makes `NEW` the root of this process, with the file systems of the kernel in it. From here on every path is one of the image's.
fn enter() -> Result<()> {
    let failed = |what: &'static str| move || format!("the root cannot be entered: {what}");
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let kept: Vec<OwnedFd> = KEPT
        .iter()
        .map(|place| open_tree(CWD, *place, flags).because(FAILED, failed("open_tree")))
        .collect::<Result<_>>()?;
    std::env::set_current_dir(NEW).because(FAILED, failed("chdir"))?;
    mount_move(".", "/").because(FAILED, failed("move"))?;
    rustix::process::chroot(".").because(FAILED, failed("chroot"))?;
    std::env::set_current_dir("/").because(FAILED, failed("chdir"))?;
    for (place, tree) in KEPT.iter().zip(&kept) {
        make_folder(Path::new(place), 0o755)?;
        move_mount(
            tree,
            "",
            CWD,
            *place,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
        )
        .because(FAILED, || format!("{place} cannot be mounted"))?;
    }
    Ok(())
}

fn mount_scratch(scratch: &Scratch) -> Result<()> {
    let path = path_of(&scratch.path);
    make_folder(path, 0o755)?;
    mount_tmpfs(path, scratch.bytes, scratch.mode, MountFlags::NOSUID)
}

fn mount_volume(volume: &Volume) -> Result<()> {
    let path = path_of(&volume.path);
    make_folder(path, 0o755)?;
    mount_disk(&volume.disk, path)
}

/// In the place of whatever has the name, which may be a link to somewhere else.
fn write_file(file: &File) -> Result<()> {
    let path = path_of(&file.path);
    if let Some(folder) = path.parent() {
        make_folder(folder, 0o755)?;
    }
    let _ = std::fs::remove_file(path);
    let made = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path);
    made.and_then(|mut made| made.write_all(&file.contents))
        .because(FAILED, || format!("{} cannot be written", shown(&file.path)))
}

impl Root {
    /// Once in the life of a machine. After a failure nothing more can be done with it.
    pub fn set_up(configuration: &Configuration) -> Result<Self> {
        if !configuration.root.read_only {
            return Err(Failure::new(FAILED, "the root disk is not read-only"));
        }
        let upper = mount_overlay(configuration)?;
        enter()?;
        configuration.scratch.iter().try_for_each(mount_scratch)?;
        configuration.volumes.iter().try_for_each(mount_volume)?;
        let volumes = configuration.volumes.iter().map(|volume| path_of(&volume.path).to_owned()).collect();
        let root = Self { upper, read_only: configuration.read_only, volumes };
        root.write_unsealed(&configuration.files)?;
        root.seal()?;
        Ok(root)
    }

    /// Writes files of the machine's own, whether the workload may write or not.
    pub fn write(&self, files: &[File]) -> Result<()> {
        if self.read_only {
            mount_remount("/", MountFlags::BIND | MountFlags::NODEV, c"")
                .because(FAILED, || "the root cannot be opened for writing".into())?;
        }
        let written = self.write_unsealed(files);
        self.seal()?;
        written
    }

    fn write_unsealed(&self, files: &[File]) -> Result<()> {
        files.iter().try_for_each(write_file)
    }

    fn seal(&self) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        mount_remount("/", MountFlags::BIND | MountFlags::NODEV | MountFlags::RDONLY, c"")
            .because(FAILED, || "the root cannot be made read-only".into())
    }

    /// Bytes in use of what may be written.
    pub fn written_bytes(&self) -> u64 {
        let used = |stat: StatVfs| (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
        rustix::fs::fstatvfs(&self.upper).map_or(0, used)
    }

    /// Volumes are whole on their disks after it. Nothing that uses them may run any more.
    pub fn leave_volumes(&self) {
        for path in self.volumes.iter().rev() {
            let _ = unmount(path, UnmountFlags::DETACH);
        }
        rustix::fs::sync();
    }
}
