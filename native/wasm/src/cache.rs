//! Compiled code on disk. Native code that someone else put there would run outside every sandbox, so a file is loaded
//! only with a tag that this node made, with a key that only it knows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::Engine;
use wasmtime::component::Component;

pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    /// Of this wasmtime with this configuration on this kind of CPU.
    compatibility: String,
}

/// What a look into the cache found.
pub enum Found {
    Code(Verified),
    Nothing,
    /// There is a file, and it must not or cannot be loaded.
    Unusable(String),
}

/// Compiled code that this node wrote: its tag was checked. Kept open, so that it is the very file that was checked
/// whatever its path names by now.
pub struct Verified(File);

impl Verified {
    /// All of it.
    pub fn bytes(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Maps the code into memory for an engine of the configuration that it was compiled for.
    pub fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let opened = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        // SAFETY: the content is what this node wrote: its tag was made with a key that only this node has. The folder
        // is private to the node's user, so that nobody else writes to the file while it is mapped.
        unsafe { Component::deserialize_file(engine, &opened) }
    }
}

impl Cache {
    /// Makes the folder if it is missing.
    pub fn open(folder: PathBuf, key: [u8; 32], engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut hasher = Digest(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = hasher.0.finalize().to_hex()[..32].to_string();
        Ok(Cache { folder, key, compatibility })
    }

    /// The code of the component with this digest (64 hex digits).
    pub fn find(&self, digest: &str) -> Found {
        let path = self.path(digest);
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return Found::Unusable(format!("{}: {error}", path.display())),
        };
        match self.verify(&file, &path, digest) {
            Ok(true) => Found::Code(Verified(file)),
            Ok(false) => Found::Unusable(format!("{}: its tag is not this node's", path.display())),
            Err(error) => Found::Unusable(format!("{}: {error}", path.display())),
        }
    }

    /// Keeps compiled code so that it survives a power cut, or is not there at all.
    pub fn store(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        // The tag first: code without a tag would be warned of at the next start, a tag without code is not looked at.
        let tag = self.tag(digest, &mut &code[..])?;
        self.replace(&tag_path(&path), tag.to_hex().as_bytes())?;
        self.replace(&path, code)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes what is kept for a component, of every version and configuration of wasmtime.
    pub fn forget(&self, digest: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let belongs =
                name.to_str().and_then(|name| name.strip_prefix(digest)).is_some_and(|rest| rest.starts_with('-'));
            if belongs {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", self.compatibility))
    }

    fn verify(&self, file: &File, path: &Path, digest: &str) -> io::Result<bool> {
        let mut written = String::new();
        open(&tag_path(path))?.take(1024).read_to_string(&mut written)?;
        let Ok(written) = blake3::Hash::from_hex(written) else { return Ok(false) };
        // `Hash` compares in constant time.
        Ok(self.tag(digest, &mut &*file)? == written)
    }

    /// Covers what the code was made from and for, and the code.
    fn tag(&self, digest: &str, code: &mut dyn Read) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in ["skerry-wasm-code-1", digest, &self.compatibility] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut buffer = vec![0; 1 << 18];
        loop {
            match code.read(&mut buffer)? {
                0 => return Ok(hasher.finalize()),
                read => hasher.update(&buffer[..read]),
            };
        }
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!(".part-{}-{serial}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&part, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }
}

fn tag_path(path: &Path) -> PathBuf {
    path.with_extension("tag")
}

/// Never through a symbolic link.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

/// Collects what `Hash` feeds it, so that the result is the same in every process.
struct Digest(blake3::Hasher);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // `precompile_compatibility_hash` only writes; what was written is read from the inner hasher.
        u64::from_le_bytes(self.0.finalize().as_bytes()[..8].try_into().unwrap_or_default())
    }
}
