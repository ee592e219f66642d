//! The code of a component: compiled once, and linked for each class of places that its functions take.

use std::sync::OnceLock;

use wasmtime::component::Component;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::cache::Verified;
use crate::component::{Refusal, link};
use crate::host::Host;
use crate::pools::{Class, Pool, Pools};

/// Linked code: what only has to be done once for all functions that share it.
pub enum Linked {
    /// Exports wasi:http/incoming-handler@0.2.x.
    P2(ProxyPre<Host>),
    /// Exports wasi:http/handler@0.3.x.
    P3(ServicePre<Host>),
}

/// Where the code comes from when another class of places needs it.
pub enum Source {
    File(Verified),
    /// Could not be kept on disk.
    Bytes(Vec<u8>),
}

impl Source {
    pub fn component(&self, pool: &Pool) -> wasmtime::Result<Component> {
        match self {
            Source::File(verified) => verified.component(&pool.wasmtime),
            // SAFETY: compiled by this process.
            Source::Bytes(code) => unsafe { Component::deserialize(&pool.wasmtime, code) },
        }
    }
}

pub struct Code {
    source: Source,
    linked: [OnceLock<Linked>; 3],
    /// Bytes of its largest memory as it is instantiated.
    pub initial_memory: u64,
}

impl Code {
    /// Loads and links the code for the places that suit its memory.
    pub fn open(source: Source, pools: &Pools) -> Result<Self, Refusal> {
        let mut class = Class::Small;
        let load = |class| source.component(pools.of(class)).map_err(|error| Refusal::Internal(format!("{error:#}")));
        let mut component = load(class)?;
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size).unwrap_or(0);
        let initial_memory = pages.saturating_mul(64 << 10);
        if Class::of(initial_memory as usize) != class {
            class = Class::of(initial_memory as usize);
            component = load(class)?;
        }
        let linked = link(pools.of(class), &component)?;
        let code = Code { source, linked: Default::default(), initial_memory };
        let _ = code.linked[class as usize].set(linked);
        Ok(code)
    }

    /// Can one instance serve several requests at once?
    pub fn is_concurrent(&self) -> bool {
        self.linked.iter().filter_map(OnceLock::get).any(|linked| matches!(linked, Linked::P3(_)))
    }

    /// The code for places of a class; the first use of a class maps it in, which takes milliseconds.
    pub fn linked(&self, class: Class, pools: &Pools) -> Result<&Linked, String> {
        let slot = &self.linked[class as usize];
        if let Some(linked) = slot.get() {
            return Ok(linked);
        }
        let pool = pools.of(class);
        let component = self.source.component(pool).map_err(|error| format!("{error:#}"))?;
        let linked = link(pool, &component).map_err(|refusal| refusal.detail())?;
        Ok(slot.get_or_init(|| linked))
    }
}
