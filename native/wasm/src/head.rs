//! The head of a request as it crosses from Node: one Latin-1 string, its fields separated by line feeds, which
//! cannot occur in any of them: method, authority, target, then header names and values in turn.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// Makes a request of a packed head, or says why the head cannot be given to a guest as it is.
///
/// `fields` is how many fields the sender packed: a line feed smuggled into one of them would make more of them.
///
/// What is made of it shares its memory: a head would be a score of small pieces otherwise, allocated on one thread and
/// freed on another.
pub fn parse<B>(packed: Bytes, fields: usize, https: bool, body: B) -> Result<Request<B>, String> {
    let mut parts = packed.split(|&byte| byte == b'\n');
    if parts.clone().count() != fields || fields < 3 || fields.is_multiple_of(2) {
        return Err("a line feed in its head".into());
    }
    let mut next = || parts.next().unwrap_or_default();
    let method = Method::from_bytes(next()).map_err(|_| "its method is not a token")?;
    let authority = next();
    // HTTP/1.0 may leave it out; a component must have one.
    let authority = if authority.is_empty() { Bytes::from_static(b"localhost") } else { packed.slice_ref(authority) };
    let authority = Authority::from_maybe_shared(authority).map_err(|_| "its Host is not a host and port")?;
    let target = next();
    let path = PathAndQuery::from_maybe_shared(packed.slice_ref(target))
        .map_err(|_| "its path has a character that a URL may not have")?;
    // A fragment would be cut off: then it is not what the client sent.
    if path.as_str().as_bytes() != target {
        return Err("its path cannot be handed on byte for byte".into());
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority);
    uri.path_and_query = Some(path);
    let uri = Uri::from_parts(uri).map_err(|error| error.to_string())?;

    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.reserve((fields - 3) / 2);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let name = HeaderName::from_bytes(name).map_err(|_| "a header's name is not a token")?;
        let value = HeaderValue::from_maybe_shared(packed.slice_ref(value))
            .map_err(|_| "a header's value has a control character")?;
        headers.try_append(name, value).map_err(|_| "it has too many headers")?;
    }
    Ok(request)
}

/// Trailers in the same form.
pub fn parse_trailers(packed: &[u8]) -> Option<http::HeaderMap> {
    let mut trailers = http::HeaderMap::new();
    let mut parts = packed.split(|&byte| byte == b'\n');
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        trailers.try_append(name, value).ok()?;
    }
    Some(trailers)
}

/// Headers or trailers of an answer, in the same form.
pub fn pack(headers: &http::HeaderMap) -> Vec<u8> {
    let mut packed = Vec::with_capacity(headers.len() * 32);
    for (name, value) in headers {
        if !packed.is_empty() {
            packed.push(b'\n');
        }
        packed.extend_from_slice(name.as_str().as_bytes());
        packed.push(b'\n');
        packed.extend_from_slice(value.as_bytes());
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_byte_for_byte() {
        let head = b"PURGE\nShop.example:8443\n/a/../%2F?x=%20&[y]\nX-One\n1\nx-one\n\nx-latin\ncaf\xe9";
        let request = parse(Bytes::from_static(head), 9, true, ()).unwrap();
        assert_eq!(request.method(), "PURGE");
        assert_eq!(request.uri().path_and_query().unwrap(), "/a/../%2F?x=%20&[y]");
        assert_eq!(request.uri().authority().unwrap(), "Shop.example:8443");
        let ones: Vec<_> = request.headers().get_all("x-one").iter().collect();
        assert_eq!(ones, ["1", ""]);
        assert_eq!(request.headers()["x-latin"].as_bytes(), b"caf\xe9");
    }

    #[test]
    fn a_target_may_have_every_visible_character_but_a_fragment() {
        let visible: Vec<u8> = (0x21..0x7f).filter(|&byte| byte != b'#' && byte != b'?').collect();
        let target = [b"/", &visible[..], b"?", &visible[..], b"?"].concat();
        let head = [b"GET\nhost\n", &target[..]].concat();
        let request = parse(Bytes::from(head), 3, false, ()).unwrap();
        assert_eq!(request.uri().path_and_query().unwrap().as_str().as_bytes(), target);
        for byte in (0..=0x20).chain([b'#', 0x7f]) {
            let head = [b"GET\nhost\n/a", &[byte][..], b"b"].concat();
            assert!(parse(Bytes::from(head), 3, false, ()).is_err(), "{byte}");
        }
    }

    #[test]
    fn what_cannot_be_handed_on_is_refused() {
        for (head, fields) in [
            (&b"GET\nhost\n/\nx\na\nevil\n1"[..], 5),
            (b"GET\nhost\n/\nx", 4),
            (b"G T\nhost\n/", 3),
            (b"GET\nho st\n/", 3),
            (b"GET\nhost\n/a#b", 3),
            (b"GET\nhost\n/a b", 3),
            (b"GET\nhost\n/\nb d\n1", 5),
            (b"GET\nhost\n/\nb\na\0b", 5),
        ] {
            assert!(parse(Bytes::from_static(head), fields, false, ()).is_err(), "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn headers_survive_the_way_there_and_back() {
        let trailers = parse_trailers(b"a\n1\na\n2\nb\n").unwrap();
        assert_eq!(pack(&trailers), b"a\n1\na\n2\nb\n");
    }
}
