//! Frames: what goes over the byte stream between host and agent. README.md says why each part is there.

/// The first byte of a frame; between frames there may be zeros.
pub const MAGIC: u8 = 0xa5;
/// The last byte of a frame. One that was cut and filled up with zeros lacks it.
pub const END: u8 = 0x5a;
pub const HEADER_BYTES: usize = 8;
/// Of a whole frame.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
pub const MAX_PAYLOAD_BYTES: usize = MAX_FRAME_BYTES - HEADER_BYTES - 1;
/// After bytes that are no frame, everything is skipped up to this many zeros in a row.
pub const RESYNC_ZEROS: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub channel: u16,
    pub payload: Vec<u8>,
}

/// Appends a frame; its payload is at most `MAX_PAYLOAD_BYTES`.
pub fn write_frame(to: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD_BYTES);
    let [low, high] = channel.to_le_bytes();
    to.extend_from_slice(&[MAGIC, kind, low, high]);
    to.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    to.extend_from_slice(payload);
    to.push(END);
}

/// Makes frames of pieces of a stream. Holds at most one frame's bytes; whatever comes, it finds its way back.
#[derive(Default)]
pub struct FrameParser {
    held: Vec<u8>,
    /// In the middle of bytes that are no frame, with so many zeros seen in a row.
    lost: Option<usize>,
}

impl FrameParser {
    /// Takes a piece of the stream, and gives every frame that is complete by it to `take`.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Frame)) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if let Some(zeros) = self.lost {
                rest = &rest[1..];
                let zeros = if first == 0 { zeros + 1 } else { 0 };
                self.lost = (zeros < RESYNC_ZEROS).then_some(zeros);
            } else if self.held.is_empty() && first != MAGIC {
                rest = &rest[1..];
                if first != 0 {
                    self.lost = Some(0);
                }
            } else {
                rest = self.fill(rest, &mut take);
            }
        }
    }

    /// Forgets what it holds.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn fill<'a>(&mut self, rest: &'a [u8], take: &mut impl FnMut(Frame)) -> &'a [u8] {
        let wanted = self.total().unwrap_or(HEADER_BYTES);
        let (now, later) = rest.split_at(rest.len().min(wanted - self.held.len()));
        self.held.extend_from_slice(now);
        match self.total() {
            Some(total) if total > MAX_FRAME_BYTES => self.lose(),
            Some(total) if total == self.held.len() => self.finish(take),
            _ => {}
        }
        later
    }

    /// How long the frame is, once its header is there.
    fn total(&self) -> Option<usize> {
        let length = self.held.get(4..HEADER_BYTES)?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        Some((length as usize).saturating_add(HEADER_BYTES + 1))
    }

    fn finish(&mut self, take: &mut impl FnMut(Frame)) {
        let mut held = std::mem::take(&mut self.held);
        match held.pop() {
            Some(END) => {
                let (kind, channel) = (held[1], u16::from_le_bytes([held[2], held[3]]));
                held.drain(..HEADER_BYTES);
                take(Frame { kind, channel, payload: held });
            }
            // It was cut, and the zeros of a host that begins anew filled it up.
            Some(0) => {}
            _ => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.held = Vec::new();
        self.lost = Some(0);
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
