//! The files of the layer. The root of the process is the layer's, so that no path leads out of it; and no path is followed
//! through a symbolic link, so that none leads elsewhere within it either.
use crate::entry::{Entry, Time};
use crate::failure::{Failure, Problem, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, open, openat2, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use std::io::{Read, Write};

/// With the data folder in front of it a path must stay below PATH_MAX (4096), or nobody could remove it. In bytes.
const MAX_PATH: usize = 3072;
const MAX_NAME: usize = 255;

/// https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories: the form of `-o userxattr`, since
/// `trusted.` attributes cannot be written from a user namespace.
const OPAQUE: &[u8] = b"user.overlay.opaque";

/// A name relative to the root of the layer, checked: no component is empty, `.` or `..`. The root itself is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(Vec<u8>);

impl Path {
    /// A leading slash means the layer's root, as every image tool reads it.
    pub fn of(name: &[u8]) -> Result<Self> {
        let mut path = Vec::with_capacity(name.len());
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(Failure::new(Problem::Escape, "`..` is part of its name")),
                _ if component.len() > MAX_NAME => return Err(too_long()),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        if path.len() > MAX_PATH { Err(too_long()) } else { Ok(Self(path)) }
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder and the name in it. Not for the root.
    pub fn split(&self) -> (Path, &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Path(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Path(Vec::new()), &self.0),
        }
    }

    pub fn join(&self, name: &[u8]) -> Result<Path> {
        Path::of(&[&self.0, name].join(&b'/'))
    }
}

fn too_long() -> Failure {
    Failure::new(
        Problem::Malformed,
        format!("its name is longer than {MAX_PATH} bytes, or a part of it than {MAX_NAME}"),
    )
}

fn call(name: &'static str) -> impl Fn(Errno) -> Failure {
    move |error| Failure::of_call(name, error)
}

pub struct Tree {
    root: OwnedFd,
    /// The folder that was last used: entries of one folder stand together.
    last: Option<(Path, OwnedFd)>,
    buffer: Vec<u8>,
    /// Folders made without an entry of their own: one long name makes a thousand.
    pub unnamed_folders: u64,
}

impl Tree {
    /// Of the process's own root.
    pub fn open() -> Result<Self> {
        let root = open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { root: root.map_err(call("open"))?, last: None, buffer: vec![0; 256 << 10], unnamed_folders: 0 })
    }

    /// Opens what is there, following no link on the way. None when a part of the path is missing.
    fn resolve(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
        let name: &[u8] = if path.is_root() { b"." } else { path.bytes() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match openat2(&self.root, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(Failure::new(Problem::Escape, "it leads through a symbolic link of the layer")),
            Err(Errno::NOTDIR) => Err(Failure::new(Problem::TypeChange, "it leads through what is not a folder")),
            Err(error) => Err(Failure::of_call("openat2", error)),
        }
    }

    fn folder(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The folder that an entry goes into. Those that the archive does not name are made, with root as their owner.
    fn parent(&mut self, path: &Path) -> Result<OwnedFd> {
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return rustix::io::fcntl_dupfd_cloexec(folder, 0).map_err(call("dup"));
        }
        let folder = self.make_folders(path)?;
        let kept = rustix::io::fcntl_dupfd_cloexec(&folder, 0).map_err(call("dup"))?;
        self.last = Some((path.clone(), kept));
        Ok(folder)
    }

    fn make_folders(&mut self, path: &Path) -> Result<OwnedFd> {
        match self.folder(path) {
            Ok(Some(found)) => return Ok(found),
            // It may lead through a whiteout, which then means that the folder hides the one below.
            Err(Failure { problem: Problem::TypeChange, .. }) | Ok(None) => {}
            Err(failure) => return Err(failure),
        }
        let (above, name) = path.split();
        let parent = self.make_folders(&above)?;
        self.make_folder(&parent, name)?;
        self.unnamed_folders += 1;
        let made = self.folder(path)?;
        made.ok_or_else(|| Failure::new(Problem::Failed, "a folder that was made is not there"))
    }

    /// True when it was there already.
    fn make_folder(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<bool> {
        let found = self.look(parent, name)?;
        match found.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::Directory) => return Ok(true),
            None | Some(FileType::CharacterDevice) => {}
            Some(FileType::Symlink) => {
                return Err(Failure::new(Problem::Escape, "it leads through a symbolic link of the layer"));
            }
            Some(_) => return Err(Failure::new(Problem::TypeChange, "it is a folder here and something else before")),
        }
        if found.is_some() {
            unlinkat(parent, name, AtFlags::empty()).map_err(call("unlinkat"))?;
        }
        mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(call("mkdirat"))?;
        let made = self.child(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        fchmod(&made, Mode::from_raw_mode(0o755)).map_err(call("fchmod"))?;
        if found.is_some() {
            set_opaque(&made)?;
        }
        Ok(false)
    }

    fn child(&self, parent: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(call("openat"))
    }

    fn look(&self, parent: &OwnedFd, name: &[u8]) -> Result<Option<Stat>> {
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Failure::of_call("statat", error)),
        }
    }

    /// Makes room for what is not a folder: what an earlier entry of the same kind has put there goes, and a whiteout too.
    fn replace(&self, parent: &OwnedFd, name: &[u8], kind: FileType) -> Result<()> {
        let Some(stat) = self.look(parent, name)? else { return Ok(()) };
        let found = FileType::from_raw_mode(stat.st_mode);
        if found != kind && found != FileType::CharacterDevice {
            return Err(Failure::new(Problem::TypeChange, format!("it is {kind:?} here and {found:?} before")));
        }
        unlinkat(parent, name, AtFlags::empty()).map_err(call("unlinkat"))
    }

    /// Its times are set at the end (`set_folder_time`): what is put into it changes them.
    pub fn put_folder(&mut self, path: &Path, entry: &Entry) -> Result<()> {
        if !path.is_root() {
            let (above, name) = path.split();
            let parent = self.parent(&above)?;
            self.make_folder(&parent, name)?;
        }
        let folder =
            self.folder(path)?.ok_or_else(|| Failure::new(Problem::Failed, "a folder that was made is not there"))?;
        set_owner_and_mode(&folder, entry)?;
        set_xattrs(&folder, entry)
    }

    pub fn put_file(&mut self, path: &Path, entry: &Entry, data: &mut impl Read) -> Result<()> {
        let (above, name) = path.split();
        let parent = self.parent(&above)?;
        self.replace(&parent, name, FileType::RegularFile)?;
        let mut file =
            std::fs::File::from(self.child(&parent, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
        let mut left = entry.size;
        while left > 0 {
            let count = data.read(&mut self.buffer).map_err(Failure::of_read)?;
            if count == 0 {
                return Err(Failure::new(Problem::Malformed, "the archive ends inside this file"));
            }
            file.write_all(&self.buffer[..count])
                .map_err(|error| Failure::of_call("write", Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            left -= count as u64;
        }
        set_owner_and_mode(&file, entry)?;
        set_xattrs(&file, entry)?;
        futimens(&file, &timestamps(entry.modified)).map_err(call("futimens"))
    }

    pub fn put_symlink(&mut self, path: &Path, entry: &Entry) -> Result<()> {
        let (above, name) = path.split();
        let parent = self.parent(&above)?;
        self.replace(&parent, name, FileType::Symlink)?;
        // Wherever it points: it is followed inside a container only.
        symlinkat(&entry.target[..], &parent, name).map_err(call("symlinkat"))?;
        self.set_owner_and_time(&parent, name, entry)
    }

    pub fn put_fifo(&mut self, path: &Path, entry: &Entry) -> Result<()> {
        let (above, name) = path.split();
        let parent = self.parent(&above)?;
        self.replace(&parent, name, FileType::Fifo)?;
        mknodat(&parent, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0).map_err(call("mknodat"))?;
        self.set_owner_and_time(&parent, name, entry)?;
        // Not a symbolic link: it was made just now, and nobody else writes here.
        rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).map_err(call("chmodat"))
    }

    fn set_owner_and_time(&self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(call("chownat"))?;
        utimensat(parent, name, &timestamps(entry.modified), AtFlags::SYMLINK_NOFOLLOW).map_err(call("utimensat"))
    }

    pub fn put_hard_link(&mut self, path: &Path, target: &Path) -> Result<()> {
        if path == target {
            return Err(Failure::new(Problem::Malformed, "it is a link to itself"));
        }
        if target.is_root() {
            return Err(Failure::new(Problem::Malformed, "it is a hard link to the root folder"));
        }
        let missing = || Failure::new(Problem::Malformed, "it is a hard link to what is not in the layer before it");
        let (target_above, target_name) = target.split();
        let from = self.folder(&target_above)?.ok_or_else(missing)?;
        let stat = self.look(&from, target_name)?.ok_or_else(missing)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::RegularFile | FileType::Symlink | FileType::Fifo => {}
            FileType::CharacterDevice => return Err(missing()),
            _ => return Err(Failure::new(Problem::Malformed, format!("it is a hard link to {kind:?}"))),
        }
        let (above, name) = path.split();
        let parent = self.parent(&above)?;
        self.replace(&parent, name, kind)?;
        linkat(&from, target_name, &parent, name, AtFlags::empty()).map_err(call("linkat"))
    }

    /// Hides what the layers below have under this name. What this layer has stays, whichever comes first in it.
    pub fn put_whiteout(&mut self, path: &Path) -> Result<()> {
        let (above, name) = path.split();
        let parent = self.parent(&above)?;
        match self.look(&parent, name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            None => {
                mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).map_err(call("mknodat"))
            }
            Some(FileType::Directory) => set_opaque(&self.child(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?),
            Some(_) => Ok(()),
        }
    }

    /// Hides everything that the layers below have in this folder.
    pub fn put_opaque(&mut self, path: &Path) -> Result<()> {
        set_opaque(&self.parent(path)?)
    }

    pub fn set_folder_time(&self, path: &Path, modified: Time) -> Result<()> {
        let Some(folder) = self.folder(path)? else { return Ok(()) };
        futimens(&folder, &timestamps(modified)).map_err(call("futimens"))
    }

    /// Brings everything to the disk, of this file system: one call, where one for each file would take seconds.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.root).map_err(call("syncfs"))
    }
}

fn set_owner_and_mode(file: &impl AsFd, entry: &Entry) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchown(file, Some(uid), Some(gid)).map_err(call("fchown"))?;
    // Behind the owner, which takes setuid away.
    fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(call("fchmod"))
}

/// File capabilities and the user's own. An overlay's are Skerry's to set: they decide what of other layers is seen.
fn set_xattrs(file: &impl AsFd, entry: &Entry) -> Result<()> {
    for (name, value) in &entry.xattrs {
        let users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !users && name != b"security.capability" {
            continue;
        }
        match fsetxattr(file, &name[..], value, XattrFlags::empty()) {
            // A file system without them; a capability for a user of another machine; a value that is none.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {}
            Err(error) => return Err(Failure::of_call("fsetxattr", error)),
        }
    }
    Ok(())
}

fn set_opaque(folder: &impl AsFd) -> Result<()> {
    fsetxattr(folder, OPAQUE, b"y", XattrFlags::empty()).map_err(call("fsetxattr"))
}

fn timestamps(Time { seconds, nanoseconds }: Time) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &[u8]) -> Option<Vec<u8>> {
        Path::of(name).ok().map(|path| path.bytes().to_vec())
    }

    #[test]
    fn paths_stay_inside_and_have_one_form() {
        assert_eq!(path(b"/./usr//bin/").unwrap(), b"usr/bin");
        assert_eq!(path(b"./").unwrap(), b"");
        assert_eq!(path(b"..a/b..").unwrap(), b"..a/b..");
        for escape in [&b".."[..], b"a/../b", b"../a", b"a/..", b"/../a"] {
            assert_eq!(Path::of(escape).unwrap_err().problem, Problem::Escape);
        }
        assert_eq!(path(&[b'a'; 256]), None);
        assert_eq!(path(&[b'a', b'/'].repeat(1600)), None);
    }
}
