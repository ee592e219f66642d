//! The uncompressed archive: decompressed, counted and hashed in a thread of its own, ahead of what unpacks it.
use crate::failure::{Failure, Problem, Result};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Of a tar archive, in bytes.
const BLOCK: u64 = 512;
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait to be unpacked.
const AHEAD: usize = 4;
/// Of zstd, as an exponent: what its own command accepts when nothing is said.
const WINDOW_LOG: u32 = 27;
/// Below this many bytes no ratio is held against a layer: a small one of zeros is harmless.
const RATIO_FREE_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy)]
pub struct StreamLimits {
    /// Uncompressed.
    pub max_bytes: u64,
    /// Uncompressed over compressed.
    pub max_ratio: u64,
}

#[derive(Debug)]
pub struct Measured {
    /// `sha256:…` of the uncompressed archive.
    pub diff_id: String,
    pub bytes: u64,
}

/// What comes from the thread: pieces, then one measure; or a failure, and nothing behind it.
enum Message {
    Piece(Vec<u8>),
    End(Measured),
    Failure(Failure),
}

/// Reads the archive; ends with what was measured of all of it.
pub struct Stream {
    messages: Receiver<Message>,
    piece: Vec<u8>,
    position: usize,
    measured: Option<Measured>,
    /// Zeros that stand in for the padding of the last file: some tools (umoci) leave it out, and the end of the archive.
    padding: usize,
    padded: Rc<Cell<bool>>,
}

impl Stream {
    pub fn start(source: impl Read + Send + 'static, limits: StreamLimits) -> Result<Self> {
        let (sender, messages) = sync_channel(AHEAD);
        thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(move || {
                let last = match pump(source, limits, &sender) {
                    Ok(measured) => Message::End(measured),
                    Err(failure) => Message::Failure(failure),
                };
                let _ = sender.send(last);
            })
            .map_err(|error| Failure::new(Problem::Failed, format!("a thread cannot be started: {error}")))?;
        Ok(Self { messages, piece: Vec::new(), position: 0, measured: None, padding: 0, padded: Rc::default() })
    }

    /// True as soon as more was read than the archive has.
    pub fn padded(&self) -> Rc<Cell<bool>> {
        self.padded.clone()
    }

    /// Reads what stands behind the end of the archive, which the digest covers too.
    pub fn finish(mut self) -> Result<Measured> {
        let mut rest = vec![0; 64 << 10];
        while self.read(&mut rest).map_err(Failure::of_read)? > 0 {}
        self.measured.ok_or_else(|| Failure::new(Problem::Failed, "the archive has no end"))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.piece.len() {
            if self.measured.is_some() {
                let count = buffer.len().min(self.padding);
                self.padding -= count;
                buffer[..count].fill(0);
                self.padded.set(self.padded.get() || count > 0);
                return Ok(count);
            }
            match self.messages.recv() {
                Ok(Message::Piece(piece)) => (self.piece, self.position) = (piece, 0),
                Ok(Message::End(measured)) => {
                    self.padding = ((BLOCK - measured.bytes % BLOCK) % BLOCK) as usize;
                    self.measured = Some(measured);
                }
                Ok(Message::Failure(failure)) => return Err(io::Error::other(failure)),
                Err(_) => return Err(io::Error::other("the archive's reader ended")),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.position);
        buffer[..count].copy_from_slice(&self.piece[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// Counts what is taken from the compressed source.
struct Counted<R> {
    source: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

fn pump(mut source: impl Read + 'static, limits: StreamLimits, sender: &SyncSender<Message>) -> Result<Measured> {
    let mut magic = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut magic).map_err(broken)?;
    let taken = Rc::new(Cell::new(0));
    let source = io::Cursor::new(magic.clone()).chain(source);
    let counted = Counted { source: BufReader::with_capacity(PIECE_BYTES, source), count: taken.clone() };
    let mut archive = decompressed(&magic, counted)?;
    let mut hash = Sha256::new();
    let mut bytes = 0u64;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let mut length = 0;
        while length < piece.len() {
            match archive.read(&mut piece[length..]).map_err(broken)? {
                0 => break,
                count => length += count,
            }
        }
        if length == 0 {
            let diff_id = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            return Ok(Measured { diff_id: format!("sha256:{diff_id}"), bytes });
        }
        bytes += length as u64;
        if bytes > limits.max_bytes {
            let why = format!("it has more than the {} bytes allowed", limits.max_bytes);
            return Err(Failure::new(Problem::TooManyBytes, why));
        }
        if bytes > RATIO_FREE_BYTES && bytes / limits.max_ratio > taken.get() {
            let why = format!("{} compressed bytes grow to {bytes} and more", taken.get());
            return Err(Failure::new(Problem::Ratio, why));
        }
        piece.truncate(length);
        hash.update(&piece);
        // The other side stopped: it has a failure of its own to tell.
        if sender.send(Message::Piece(piece)).is_err() {
            return Err(Failure::new(Problem::Failed, "stopped"));
        }
    }
}

/// By its first bytes, as every image tool does: media types are often wrong, and the digest decides anyway.
fn decompressed(magic: &[u8], source: impl Read + 'static) -> Result<Box<dyn Read>> {
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(source)),
        // A frame, or one that is to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            let mut decoder = zstd::Decoder::new(source).map_err(broken)?;
            decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
            Box::new(decoder)
        }
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X'] => {
            return Err(Failure::new(Problem::Malformed, "it is compressed by neither gzip nor zstd"));
        }
        _ => Box::new(source),
    })
}

fn broken(error: io::Error) -> Failure {
    Failure::new(Problem::Malformed, format!("it cannot be decompressed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits = StreamLimits { max_bytes: 1 << 30, max_ratio: 200 };

    fn measure(source: Vec<u8>, limits: StreamLimits) -> Result<Measured> {
        Stream::start(io::Cursor::new(source), limits)?.finish()
    }

    #[test]
    fn the_digest_is_of_the_uncompressed_bytes_in_each_form() {
        let plain = vec![7u8; 600_000];
        let zstd = zstd::encode_all(&plain[..], 3).unwrap();
        let mut gzip = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast());
        let mut gzipped = Vec::new();
        gzip.read_to_end(&mut gzipped).unwrap();
        let expected = measure(plain.clone(), LIMITS).unwrap();
        assert_eq!(expected.bytes, 600_000);
        for form in [zstd, gzipped.clone()] {
            assert_eq!(measure(form, LIMITS).unwrap().diff_id, expected.diff_id);
        }
        gzipped.truncate(gzipped.len() - 9);
        assert_eq!(measure(gzipped, LIMITS).err().unwrap().problem, Problem::Malformed);
    }

    #[test]
    fn a_bomb_is_stopped_by_its_ratio_and_by_its_size() {
        let bomb = zstd::encode_all(io::repeat(0).take(300 << 20), 1).unwrap();
        assert_eq!(measure(bomb.clone(), LIMITS).err().unwrap().problem, Problem::Ratio);
        let limits = StreamLimits { max_bytes: 1 << 20, ..LIMITS };
        assert_eq!(measure(bomb, limits).err().unwrap().problem, Problem::TooManyBytes);
    }
}
