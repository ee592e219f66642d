//! What a guest finds around it: WASI with nothing granted, and the bounds on what it can make the host keep for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::function::Function;
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::output::Output;
use crate::request::Request;
use crate::{keyvalue_draft, keyvalue_draft2, logging};

/// Handles that one instance may hold. With `FIELDS` this bounds the host's memory for headers to 128 MiB.
const HANDLES: usize = 2048;
/// Bytes of one set of headers or trailers, as wasmtime-wasi-http counts them: names, values and their bookkeeping.
const FIELDS: usize = 64 << 10;
/// Bytes that one call may copy from the guest into the host.
const CALL_BYTES: usize = 8 << 20;
/// Random bytes that one call may ask for.
const RANDOM_BYTES: u64 = 4 << 20;
/// Ticks of the clock before a guest must let others run, see `clock::TICK`. The first slice is longer, so that most
/// requests are never interrupted.
const FIRST_SLICE: u64 = 2;
const SLICE: u64 = 1;

pub struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub table: ResourceTable,
    outgoing: Outgoing,
    function: Arc<Function>,
    pub limits: Limits,
    pub current: Arc<Current>,
}

/// The request that an instance serves: none while it waits for its next one, and of several at once the last that
/// began. Whatever belongs to a request asks here at the time of the call.
pub struct Current(Mutex<Option<Arc<Request>>>);

impl Current {
    pub fn get(&self) -> Option<Arc<Request>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Request>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// A store for one instance that serves `request`.
    pub fn store(engine: &Engine, request: &Arc<Request>) -> Store<Host> {
        let function = &request.function;
        let current = Arc::new(Current(Mutex::new(Some(request.clone()))));
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(&function.env)
            .stdout(Output::stdout(current.clone()))
            .stderr(Output::stderr(current.clone()))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let host = Host {
            wasi: wasi.build(),
            http,
            table,
            outgoing: Outgoing::new(current.clone()),
            function: function.clone(),
            limits: Limits::new(function.memory_limit),
            current,
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.limits);
        store.set_hostcall_fuel(CALL_BYTES);
        store.set_epoch_deadline(FIRST_SLICE);
        // Runs inside the guest at the end of each slice, while it is instantiated too.
        store.epoch_deadline_callback(|context| {
            let Some(request) = context.data().current.get() else { return Ok(UpdateDeadline::Interrupt) };
            if request.must_end().is_some() {
                return Ok(UpdateDeadline::Interrupt);
            }
            request.preempt();
            Ok(UpdateDeadline::Yield(SLICE))
        });
        store
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}

/// All of WASI 0.2 and 0.3, and what a function may be given beside it. That an interface is linked grants nothing:
/// there are no folders, no addresses, no names and no storage that it could reach but for what its settings say.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |host: &mut Host| WasiConfig::from(&host.function.grants.config))?;
    keyvalue_draft::add_to_linker(&mut linker)?;
    keyvalue_draft2::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    Ok(linker)
}
