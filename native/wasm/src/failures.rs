//! How outbound requests failed, for guests whose engine keeps that from them: functions built from JavaScript
//! (images/build/javascript/guest/function.wit).

use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi_http::Error;

use crate::error_code;
use crate::host::Host;

/// Origins of which a request remembers the last failure.
const ORIGINS: usize = 32;

/// Of one request: origin and kind, the oldest first.
#[derive(Default)]
pub struct Failures(Mutex<Vec<(String, &'static str)>>);

impl Failures {
    pub fn note(&self, origin: String, error: &Error) {
        let mut all = self.lock();
        all.retain(|(known, _)| *known != origin);
        if all.len() == ORIGINS {
            all.remove(0);
        }
        all.push((origin, error_code::kind(error)));
    }

    fn last_of(&self, origin: &str) -> Option<String> {
        self.lock().iter().find(|(known, _)| known == origin).map(|(_, kind)| kind.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, &'static str)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `https://example.com`, of a request that is sent.
pub fn origin_of(uri: &http::Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    format!("{scheme}://{}", uri.authority().map_or("", |authority| authority.as_str()))
}

pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.instance("skerry:function/outbound")?.func_wrap(
        "last-failure",
        |store: StoreContextMut<'_, Host>, (origin,): (String,)| {
            let request = store.data().current.get();
            Ok((request.and_then(|request| request.failures.last_of(&origin)),))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_of_an_origin_is_known_of_so_many() {
        let failures = Failures::default();
        failures.note("http://a".into(), &Error::ConnectionRefused);
        failures.note("http://a".into(), &Error::TlsCertificateError);
        assert_eq!(failures.last_of("http://a").as_deref(), Some("TLS-certificate-error"));
        assert_eq!(failures.last_of("http://b"), None);
        for number in 0..ORIGINS {
            failures.note(format!("http://{number}"), &Error::DnsTimeout);
        }
        assert_eq!(failures.last_of("http://a"), None);
        assert_eq!(failures.last_of("http://0").as_deref(), Some("DNS-timeout"));
    }
}
