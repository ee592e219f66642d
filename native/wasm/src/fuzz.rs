//! What is fuzzed: all that this library does with bytes of others before a guest runs. Each target takes any bytes and
//! panics when something does not hold. cargo-fuzz drives them (`npm run fuzz`); a unit test runs the kept corpus, so
//! that neither the targets nor what they once found is lost.

use std::sync::OnceLock;

use http::uri::Scheme;

use crate::code::Source;
use crate::component::{Refusal, open_compiled, translate};
use crate::head::{pack, parse, parse_trailers};
use crate::pools::Pools;

/// A file that someone deploys: its header, its validation, its compilation, its imports and exports.
pub fn component(bytes: &[u8]) {
    static POOLS: OnceLock<Pools> = OnceLock::new();
    let pools = POOLS.get_or_init(|| Pools::open(|_| {}).expect("the pools of this machine"));
    let opened = translate(pools.compiler(), bytes).and_then(|code| open_compiled(Source::Bytes(code), pools));
    if let Err(refusal) = opened {
        // Whatever is wrong with a component is its developer's to know, never a fault of the node.
        assert!(!matches!(refusal, Refusal::Internal(_) | Refusal::Unreadable(_)), "{refusal:?}");
        assert!(!refusal.detail().contains('\n'), "a reason of one line: {refusal:?}");
    }
}

/// A request's head and trailers on their way to a guest, and headers on their way back. The first byte says the scheme,
/// and whether the sender's count of fields is right.
pub fn head(bytes: &[u8]) {
    let Some((&first, packed)) = bytes.split_first() else { return };
    let fields: Vec<&[u8]> = packed.split(|&byte| byte == b'\n').collect();
    let https = first & 1 != 0;
    let shared = bytes::Bytes::copy_from_slice(packed);
    if first & 2 != 0 {
        assert!(parse(shared.clone(), fields.len() + 1 + usize::from(first >> 2), https, ()).is_err());
    }
    if let Ok(request) = parse(shared, fields.len(), https, ()) {
        taken_byte_for_byte(&request, &fields, https);
    }
    if let Some(trailers) = parse_trailers(packed) {
        assert_eq!(parse_trailers(&pack(&trailers)).as_ref(), Some(&trailers));
    }
}

fn taken_byte_for_byte(request: &http::Request<()>, fields: &[&[u8]], https: bool) {
    let uri = request.uri();
    assert_eq!(request.method().as_str().as_bytes(), fields[0]);
    let authority = if fields[1].is_empty() { &b"localhost"[..] } else { fields[1] };
    assert_eq!(uri.authority().map(|authority| authority.as_str().as_bytes()), Some(authority));
    assert_eq!(uri.path_and_query().map(|path| path.as_str().as_bytes()), Some(fields[2]));
    assert_eq!(uri.scheme(), Some(if https { &Scheme::HTTPS } else { &Scheme::HTTP }));
    let sent: Vec<(Vec<u8>, &[u8])> =
        fields[3..].chunks(2).map(|pair| (pair[0].to_ascii_lowercase(), pair[1])).collect();
    assert_eq!(request.headers().len(), sent.len());
    for (name, _) in &sent {
        let name = std::str::from_utf8(name).expect("a token");
        let got = request.headers().get_all(name).iter().map(http::HeaderValue::as_bytes);
        let given = sent.iter().filter(|(each, _)| each == name.as_bytes()).map(|(_, value)| *value);
        assert!(got.eq(given), "every value of {name}, in order");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Gives every file of a kept corpus to its target.
    fn run(target: fn(&[u8]), corpus: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
        let mut files = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            target(&fs::read(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
    }

    #[test]
    fn components_of_the_corpus_are_taken_or_refused_with_a_reason() {
        run(component, "component");
    }

    #[test]
    fn heads_of_the_corpus_cross_byte_for_byte() {
        run(head, "head");
    }
}
