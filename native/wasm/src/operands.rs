//! Lists of bytes as they cross between the guest and Node for operations on stored keys: each a little-endian u32 with its
//! length, then as many bytes. The length `NONE` stands for an absent one. The TypeScript side is
//! runtime/drivers/wasm/wasmtime/operands.ts.

use bytes::{Buf, Bytes};

const NONE: u32 = u32::MAX;

#[derive(Default)]
pub struct Operands(Vec<u8>);

impl Operands {
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.0.reserve(4 + bytes.len());
        // A guest's memory ends before 4 GiB, and so does everything in it.
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn with_option(mut self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.with(bytes),
            None => {
                self.0.extend_from_slice(&NONE.to_le_bytes());
                self
            }
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads them one by one; ends with the bytes.
pub struct Results(pub Bytes);

impl Iterator for Results {
    type Item = Option<Vec<u8>>;

    fn next(&mut self) -> Option<Option<Vec<u8>>> {
        if self.0.len() < 4 {
            return None;
        }
        let length = self.0.get_u32_le();
        if length == NONE {
            return Some(None);
        }
        let length = (length as usize).min(self.0.len());
        Some(Some(self.0.split_to(length).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_back() {
        let packed = Operands::default().with(b"key").with(b"").with_option(None).with_option(Some(b"v"));
        let read: Vec<_> = Results(packed.into_bytes().into()).collect();
        assert_eq!(read, [Some(b"key".to_vec()), Some(Vec::new()), None, Some(b"v".to_vec())]);
    }

    #[test]
    fn a_length_beyond_the_bytes_reads_what_is_there() {
        assert_eq!(Results(Bytes::from_static(b"\x09\0\0\0ab")).collect::<Vec<_>>(), [Some(b"ab".to_vec())]);
        assert_eq!(Results(Bytes::from_static(b"\x09")).next(), None);
    }
}
