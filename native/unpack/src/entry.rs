//! Entries of a tar archive with their extension headers taken in: GNU long names, and pax records.
//!
//! The extension headers are read here rather than by the tar library, which would take one of any length into memory, and
//! so that whatever two readers could understand differently is refused: sparse files, sizes said twice, links with data.
use crate::failure::{Failure, Problem, Result};
use std::io::Read;
use tar::{EntryType, Header, PaxExtensions};

/// Of one extension header, in bytes; file capabilities and long names need a few hundred.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// What the size of a file may be in its own field; a pax record says it where it is more.
const MOST_FILE_BYTES: u64 = (1 << 33) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    Fifo,
    Device,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

#[derive(Debug)]
pub struct Entry {
    pub name: Vec<u8>,
    pub kind: Kind,
    /// The permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Time,
    /// Of a link.
    pub target: Vec<u8>,
    /// Of a file, in bytes.
    pub size: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What extension headers say of the entry behind them.
#[derive(Default)]
pub struct Extension {
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
}

fn malformed(why: impl Into<String>) -> Failure {
    Failure::new(Problem::Malformed, why)
}

impl Extension {
    /// Takes in the header if it is an extension; otherwise false.
    pub fn take(&mut self, header: &Header, data: &mut impl Read) -> Result<bool> {
        let kind = header.entry_type();
        let known = [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader];
        if !known.contains(&kind) {
            return Ok(false);
        }
        let size = header.entry_size().map_err(Failure::of_read)?;
        if size > MAX_EXTENSION_BYTES {
            return Err(malformed(format!("an extension header has {size} bytes, more than {MAX_EXTENSION_BYTES}")));
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).map_err(Failure::of_read)?;
        if bytes.len() as u64 != size {
            return Err(malformed("it ends inside an extension header"));
        }
        match kind {
            EntryType::GNULongName => self.long_name = Some(until_nul(bytes)),
            EntryType::GNULongLink => self.long_target = Some(until_nul(bytes)),
            EntryType::XHeader => self.pax = Some(bytes),
            // Comments of the tool that made it; what would change entries is not taken from there by any image tool.
            _ => self.refuse_meaningful(&bytes)?,
        }
        Ok(true)
    }

    fn refuse_meaningful(&self, bytes: &[u8]) -> Result<()> {
        for record in PaxExtensions::new(bytes) {
            let key = record.map_err(Failure::of_read)?.key_bytes();
            if [&b"path"[..], b"linkpath", b"size", b"uid", b"gid"].contains(&key) || key.starts_with(b"GNU.sparse") {
                let key = String::from_utf8_lossy(key);
                return Err(malformed(format!("a global header sets {key} of every entry")));
            }
        }
        Ok(())
    }

    /// The entry of this header, with what was taken in before it.
    pub fn finish(self, header: &Header, ids: u32) -> Result<Entry> {
        let mut name = self.long_name.unwrap_or_else(|| header_name(header));
        let mut target =
            self.long_target.or_else(|| header.link_name_bytes().map(|bytes| bytes.into_owned())).unwrap_or_default();
        let mut uid = header.uid().map_err(Failure::of_read);
        let mut gid = header.gid().map_err(Failure::of_read);
        let size = header.entry_size().map_err(Failure::of_read)?;
        // An unreadable time is no reason to refuse an image.
        let seconds = header.mtime().ok().and_then(|value| i64::try_from(value).ok()).unwrap_or(0);
        let mut modified = Time { seconds, nanoseconds: 0 };
        let mut xattrs = Vec::new();
        for record in PaxExtensions::new(&self.pax.unwrap_or_default()) {
            let record = record.map_err(|error| malformed(format!("a pax header cannot be read: {error}")))?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => name = value.to_vec(),
                b"linkpath" => target = value.to_vec(),
                b"uid" => uid = number(value),
                b"gid" => gid = number(value),
                b"mtime" => modified = time(value).unwrap_or(modified),
                // As tar says what does not fit into its own field.
                b"size" if size == 0 && number(value).is_ok_and(|size| size > MOST_FILE_BYTES) => {
                    return Err(Failure::new(Problem::TooManyBytes, "a file of more than 8 GiB").at(&name));
                }
                b"size" if number(value).ok() != Some(size) => return Err(malformed("its size is said twice")),
                key if key.starts_with(b"GNU.sparse") => return Err(malformed("it is a sparse file")),
                key => {
                    if let Some(key) = key.strip_prefix(b"SCHILY.xattr.") {
                        xattrs.push((key.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        if name.contains(&0) || target.contains(&0) {
            return Err(malformed("a name has a NUL byte in it").at(&name));
        }
        Self::checked(
            header,
            Entry {
                kind: kind_of(header, &name).map_err(|failure| failure.at(&name))?,
                mode: header.mode().map_err(|error| Failure::of_read(error).at(&name))? & 0o7777,
                uid: in_range(uid, ids).map_err(|failure| failure.at(&name))?,
                gid: in_range(gid, ids).map_err(|failure| failure.at(&name))?,
                name,
                modified,
                target,
                size,
                xattrs,
            },
        )
    }

    fn checked(header: &Header, entry: Entry) -> Result<Entry> {
        if entry.kind != Kind::File && header.entry_size().map_err(Failure::of_read)? != 0 {
            return Err(malformed("it has data, and is not a file").at(&entry.name));
        }
        if [Kind::Symlink, Kind::HardLink].contains(&entry.kind) && entry.target.is_empty() {
            return Err(malformed("it is a link to nothing").at(&entry.name));
        }
        Ok(entry)
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

fn header_name(header: &Header) -> Vec<u8> {
    header.path_bytes().into_owned()
}

fn kind_of(header: &Header, name: &[u8]) -> Result<Kind> {
    Ok(match header.entry_type() {
        // Archives older than ustar mark a folder by its name only.
        EntryType::Regular if name.ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::GNUSparse => return Err(malformed("it is a sparse file")),
        other => return Err(malformed(format!("it has the unknown type {:?}", char::from(other.as_byte())))),
    })
}

fn in_range(id: Result<u64>, ids: u32) -> Result<u32> {
    let id = id?;
    match u32::try_from(id) {
        Ok(id) if id < ids => Ok(id),
        _ => {
            Err(Failure::new(Problem::Id, format!("it belongs to {id}, and a container has the ids 0 to {}", ids - 1)))
        }
    }
}

fn number(text: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("a pax header has a number that is none"))
}

/// Seconds since 1970 with a fraction, before 1970 with a sign.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if nanoseconds > 0 && whole.starts_with('-') {
        return Some(Time { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_may_be_before_1970() {
        assert_eq!(time(b"12.5"), Some(Time { seconds: 12, nanoseconds: 500_000_000 }));
        assert_eq!(time(b"-1.25"), Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(time(b"7"), Some(Time { seconds: 7, nanoseconds: 0 }));
        assert_eq!(time(b"x"), None);
    }
}
