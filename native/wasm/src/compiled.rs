//! Functions that were compiled before, so that a component which differs little from an earlier one is compiled in a
//! fraction of the time: each function built from JavaScript brings the same engine of 10 MB. They are kept on disk in
//! one file of the code cache, authenticated like all that it holds, and in memory only while something is compiled.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::CacheStore;

/// Bytes of keys and code kept on disk: some two engines like that of JavaScript.
const KEPT: usize = 96 << 20;

#[derive(Default)]
pub struct CompiledFunctions(Mutex<Functions>);

#[derive(Default)]
struct Functions {
    /// None while nothing is compiled.
    known: Option<HashMap<Vec<u8>, Function>>,
    /// Something is known that the file does not have.
    changed: bool,
}

struct Function {
    code: Arc<[u8]>,
    /// Asked for, or made, by the compilation that runs.
    used: bool,
}

impl CompiledFunctions {
    /// Takes in what `pack` gave before; anything else is ignored.
    pub fn open(&self, packed: &[u8]) {
        let mut functions = self.lock();
        functions.known = Some(unpack(packed).unwrap_or_default());
        functions.changed = false;
    }

    /// Forgets all of them; gives back what to keep on disk, unless that is there already.
    pub fn close(&self) -> Option<Vec<u8>> {
        let mut functions = self.lock();
        let changed = functions.changed;
        let known = functions.known.take()?;
        changed.then(|| pack(known))
    }

    fn lock(&self) -> MutexGuard<'_, Functions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CompiledFunctions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CompiledFunctions")
    }
}

impl CacheStore for CompiledFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut functions = self.lock();
        let function = functions.known.as_mut()?.get_mut(key)?;
        function.used = true;
        Some(Cow::Owned(function.code.to_vec()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut functions = self.lock();
        let Some(known) = functions.known.as_mut() else { return false };
        known.insert(key.to_vec(), Function { code: value.into(), used: true });
        functions.changed = true;
        true
    }
}

/// Those that were used first, then others, as far as there is room: the length of key and code, each a little-endian
/// u32, then key and code.
fn pack(known: HashMap<Vec<u8>, Function>) -> Vec<u8> {
    let mut packed = Vec::new();
    let (used, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, function)| function.used);
    for (key, Function { code, .. }) in used.into_iter().chain(others) {
        if packed.len() + 8 + key.len() + code.len() > KEPT {
            break;
        }
        packed.extend_from_slice(&(key.len() as u32).to_le_bytes());
        packed.extend_from_slice(&(code.len() as u32).to_le_bytes());
        packed.extend_from_slice(&key);
        packed.extend_from_slice(&code);
    }
    packed
}

fn unpack(mut packed: &[u8]) -> Option<HashMap<Vec<u8>, Function>> {
    let mut known = HashMap::new();
    while !packed.is_empty() {
        let (key_length, rest) = packed.split_first_chunk::<4>()?;
        let (code_length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
        let (code, rest) = rest.split_at_checked(u32::from_le_bytes(*code_length) as usize)?;
        known.insert(key.to_vec(), Function { code: code.into(), used: false });
        packed = rest;
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_is_known_the_next_time() {
        let functions = CompiledFunctions::default();
        assert!(!functions.insert(b"early", vec![1]), "nothing is compiled now");
        functions.open(b"");
        assert!(functions.get(b"a").is_none());
        assert!(functions.insert(b"a", vec![1, 2, 3]));
        let packed = functions.close().unwrap();
        functions.open(&packed);
        assert_eq!(functions.get(b"a").unwrap().as_ref(), [1, 2, 3]);
        assert!(functions.close().is_none(), "the file has it already");
    }

    #[test]
    fn a_file_that_is_cut_is_no_file() {
        let functions = CompiledFunctions::default();
        functions.open(b"");
        functions.insert(b"key", vec![9; 100]);
        let packed = functions.close().unwrap();
        for length in 1..packed.len() {
            functions.open(&packed[..length]);
            assert!(functions.get(b"key").is_none());
        }
    }
}
