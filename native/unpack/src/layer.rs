//! What the entries of a layer mean: files, and the whiteouts of
//! https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts.
use crate::entry::{Entry, Extension, Kind, Time};
use crate::failure::{Failure, Problem, Result};
use crate::stream::Stream;
use crate::tree::{Path, Tree};
use std::collections::HashMap;
use std::io::Read;
use tar::Archive;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Of the file system that the form comes from (aufs); they mean nothing here.
const RESERVED: &[u8] = b".wh..wh.";

#[derive(Clone, Copy)]
pub struct LayerLimits {
    pub max_entries: u64,
    /// User and group numbers from 0 that a container has.
    pub ids: u32,
}

/// Unpacks the archive into the root folder of the process; returns the number of its entries.
pub fn unpack(archive: &mut Stream, limits: LayerLimits) -> Result<u64> {
    let padded = archive.padded();
    let cut_off = |entry: &[u8]| Failure::new(Problem::Malformed, "the archive ends inside it").at(entry);
    let mut tree = Tree::open()?;
    let mut folder_times = HashMap::new();
    let mut archive = Archive::new(archive);
    let mut extension = Extension::default();
    let mut entries = 0;
    for item in archive.entries().map_err(Failure::of_read)?.raw(true) {
        let mut item = item.map_err(Failure::of_read)?;
        // Extension headers count too: they cost as much.
        entries += 1;
        if entries + tree.unnamed_folders > limits.max_entries {
            let why = format!("it has more than the {} entries allowed", limits.max_entries);
            return Err(Failure::new(Problem::TooManyEntries, why));
        }
        let header = item.header().clone();
        if extension.take(&header, &mut item)? {
            if padded.get() {
                return Err(cut_off(b"an extension header"));
            }
            continue;
        }
        let entry = std::mem::take(&mut extension).finish(&header, limits.ids)?;
        put(&mut tree, &entry, &mut item, &mut folder_times).map_err(|failure| failure.at(&entry.name))?;
        if padded.get() {
            return Err(cut_off(&entry.name));
        }
    }
    for (path, modified) in folder_times {
        tree.set_folder_time(&path, modified)?;
    }
    tree.sync()?;
    Ok(entries)
}

fn put(tree: &mut Tree, entry: &Entry, data: &mut impl Read, folder_times: &mut HashMap<Path, Time>) -> Result<()> {
    let path = Path::of(&entry.name)?;
    if path.is_root() {
        if entry.kind != Kind::Folder {
            return Err(Failure::new(Problem::TypeChange, "the root of the layer is not a folder"));
        }
    } else {
        let (above, name) = path.split();
        if above.bytes().split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT)) {
            return Err(Failure::new(Problem::Malformed, "a folder has the name of a whiteout"));
        }
        if name == OPAQUE {
            return tree.put_opaque(&above);
        }
        if name.starts_with(RESERVED) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return tree.put_whiteout(&hidden_path(&above, hidden)?);
        }
    }
    match entry.kind {
        Kind::Folder => {
            tree.put_folder(&path, entry)?;
            folder_times.insert(path, entry.modified);
            Ok(())
        }
        Kind::File => tree.put_file(&path, entry, data),
        Kind::Symlink => tree.put_symlink(&path, entry),
        Kind::HardLink => tree.put_hard_link(&path, &Path::of(&entry.target)?),
        Kind::Fifo => tree.put_fifo(&path, entry),
        // A container gets a /dev of its own.
        Kind::Device if path.bytes().starts_with(b"dev/") => Ok(()),
        Kind::Device => Err(Failure::new(Problem::Device, "it is a device outside /dev")),
    }
}

fn hidden_path(above: &Path, hidden: &[u8]) -> Result<Path> {
    if hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Err(Failure::new(Problem::Escape, "it is a whiteout of no name in its folder"));
    }
    above.join(hidden)
}
