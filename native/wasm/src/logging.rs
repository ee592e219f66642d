//! wasi:logging: lines of the guest with a level and a context, to the function's log, within what it may print.

use bytes::Bytes;
use wasmtime::component::{HasSelf, Linker};

use crate::host::Host;
use crate::outbox::flag;
use crate::output;

/// wasi:logging as it was before it had a version.
mod unversioned {
    wasmtime::component::bindgen!({ path: "wit/deps/logging", world: "wasi:logging/imports" });
}

/// wasi:logging@0.1.0-draft.
mod draft {
    wasmtime::component::bindgen!({ path: "wit/deps/logging-0.1.0-draft", world: "wasi:logging/imports" });
}

pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    unversioned::Imports::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    draft::Imports::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)
}

/// Every case of a version's `level` as people write it.
macro_rules! impl_logging {
    ($version:ident) => {
        impl $version::wasi::logging::logging::Host for Host {
            fn log(&mut self, level: $version::wasi::logging::logging::Level, context: String, message: String) {
                use $version::wasi::logging::logging::Level;
                let level = match level {
                    Level::Trace => "TRACE",
                    Level::Debug => "DEBUG",
                    Level::Info => "INFO",
                    Level::Warn => "WARN",
                    Level::Error => "ERROR",
                    Level::Critical => "CRITICAL",
                };
                self.log_line(level, &context, &message);
            }
        }
    };
}

impl_logging!(unversioned);
impl_logging!(draft);

impl Host {
    fn log_line(&self, level: &str, context: &str, message: &str) {
        let Some(request) = self.current.get() else { return };
        let line = match context {
            "" => format!("{level} {message}\n"),
            _ => format!("{level} {context}: {message}\n"),
        };
        output::print(&request, flag::STDERR, Bytes::from(line));
    }
}
