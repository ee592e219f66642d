//! What a guest finds around it: WASI with nothing granted, and the bounds on what it can make the host keep for it.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::function::Settings;
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::output::Output;
use crate::request::Request;
use crate::shared::Shared;
use crate::tasks::{self, Tasks};
use crate::{failures, keyvalue_draft, keyvalue_draft2, logging, queue};

/// Handles that one instance may hold; what stands behind them is charged to its memory, see `limits.rs`.
const HANDLES: usize = 2048;
/// A body of 1 GiB makes room for all that the JavaScript engine leaves behind of it.
const BYTES_PER_HANDLE: u64 = 4 << 10;
const MORE_HANDLES: usize = 256 << 10;
/// Bytes of one set of headers or trailers, as wasmtime-wasi-http counts them: names, values and their bookkeeping.
const FIELDS: usize = 48 << 10;
/// Bytes that one call may copy from the guest into the host.
const CALL_BYTES: usize = 8 << 20;
/// Random bytes that one call may ask for.
const RANDOM_BYTES: u64 = 4 << 20;
/// Ticks of the clock in every time slice after the first.
const SLICE: u64 = 1;

pub struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub table: ResourceTable,
    pub outgoing: Outgoing,
    settings: Arc<Settings>,
    pub limits: Limits,
    pub current: Arc<Current>,
    /// Bytes of bodies that its request was sent, see `Host::allow_handles`.
    pub received: Arc<AtomicU64>,
    /// Set when the instance serves several requests at once.
    pub shared: Option<Arc<Shared>>,
    /// Whose they are.
    pub tasks: Tasks,
}

/// The request that an instance serves: none while it waits for its next one, and of several at once the last that
/// began. Whatever belongs to a request asks here at the time of the call.
pub struct Current(Mutex<Option<Arc<Request>>>);

impl Current {
    pub fn get(&self) -> Option<Arc<Request>> {
        self.lock().clone()
    }

    pub fn set(&self, request: Option<Arc<Request>>) {
        let before = mem::replace(&mut *self.lock(), request);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Request>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Ticks of the clock before a new guest must let others run, see `clock::TICK`: longer than the slices that
    /// follow, so that most requests are never interrupted.
    pub const FIRST_SLICE: u64 = 2;

    /// A store for one instance that serves `request` first. `preempts`: a guest that burns CPU gives up its thread at each
    /// tick; else one that serves a request alone keeps it.
    pub fn store(engine: &Engine, request: &Arc<Request>, preempts: bool) -> Store<Host> {
        let settings = &request.function.settings;
        let current = Arc::new(Current(Mutex::new(Some(request.clone()))));
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(&settings.env)
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
        let limits = Limits::new(settings.memory_limit);
        let host = Host {
            wasi: wasi.build(),
            http,
            table,
            outgoing: Outgoing::new(current.clone(), limits.budget()),
            settings: settings.clone(),
            limits,
            current,
            received: request.received.clone(),
            shared: None,
            tasks: Tasks::default(),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.limits);
        store.set_hostcall_fuel(CALL_BYTES);
        // wasmtime's own count of the same, which does not grow with what was received.
        store.set_max_component_handles(HANDLES + MORE_HANDLES);
        store.set_epoch_deadline(Self::FIRST_SLICE);
        // Runs inside the guest at the end of each slice, while it is instantiated too.
        store.epoch_deadline_callback(move |context| {
            let host = context.data();
            Ok(match (&host.shared, host.current.get()) {
                // It must let the others that it serves come to theirs.
                (Some(shared), _) => {
                    shared.preempt();
                    if shared.is_stuck() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(SLICE) }
                }
                (None, Some(request)) => {
                    request.preempt();
                    if !preempts {
                        // Its turn goes on: what it has had of it counts for its limit all the same.
                        request.add_cpu(queue::uncounted_cpu());
                    }
                    if request.must_end().is_some() {
                        UpdateDeadline::Interrupt
                    } else if preempts {
                        UpdateDeadline::Yield(SLICE)
                    } else {
                        request.flush();
                        UpdateDeadline::Continue(SLICE)
                    }
                }
                (None, None) => UpdateDeadline::Interrupt,
            })
        });
        store
    }
}

impl Host {
    /// The JavaScript engine leaves a handle behind for each 8 KiB that it reads of a body: what was sent to the guest
    /// raises what it may hold.
    fn allow_handles(&mut self) {
        let received = self.received.load(Ordering::Relaxed);
        if received > 0 {
            let more = usize::try_from(received / BYTES_PER_HANDLE).unwrap_or(MORE_HANDLES);
            self.table.set_max_capacity(HANDLES + more.min(MORE_HANDLES));
        }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.allow_handles();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.allow_handles();
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
    tasks::attribute_sends(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |host: &mut Host| WasiConfig::from(&host.settings.grants.config))?;
    keyvalue_draft::add_to_linker(&mut linker)?;
    keyvalue_draft2::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    failures::add_to_linker(&mut linker)?;
    Ok(linker)
}
