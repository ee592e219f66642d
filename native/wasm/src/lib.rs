//! Skerry's native Wasm engine as a Node-API module. This file is all that JavaScript sees of it: plain calls with
//! numbers, packed strings and bytes. Its other half is runtime/drivers/wasm/wasmtime/.

mod answers;
mod body;
mod cache;
mod calls;
mod clock;
mod code;
mod compiled;
mod component;
mod config;
mod discipline;
mod engine;
mod error_code;
mod exchange;
mod failure;
mod failures;
mod fair;
mod function;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod head;
mod host;
mod instance;
mod keyvalue;
mod keyvalue_draft;
mod keyvalue_draft2;
mod lanes;
mod latin1;
mod limits;
mod logging;
mod operands;
mod ordered;
mod outbox;
mod outgoing;
mod output;
mod pools;
mod queue;
mod reply;
mod request;
mod serve;
mod serve_p2;
mod serve_p3;
mod shared;
mod task;
mod tasks;
mod waiting;
mod workloads;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use napi::bindgen_prelude::{BufferSlice, Function as JsFunction};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Env, Error, Result, Status, check_status, sys};
use napi_derive::napi;

use crate::body::{BodyStream, IncomingBody, Pushed, RequestBody};
use crate::component::Refusal;
use crate::discipline::{Discipline, MOST_URGENT};
use crate::engine::Engine;
use crate::function::{Figures, Function, Grants, Outbound, Settings};
use crate::latin1::Latin1;
use crate::outbox::{Event, Outbox, flag};
use crate::request::Request;

/// The version of wasmtime, from the lock file that this library was built with.
#[napi]
pub fn version() -> &'static str {
    env!("WASMTIME_VERSION")
}

// Its methods are in answers.rs too. JavaScript calls it by the same name: a name of its own would hold for the methods of
// one of the files alone, and the linker would choose which.
#[napi]
pub struct NativeEngine {
    /// None once it was closed.
    engine: Mutex<Option<Arc<Engine>>>,
    outbox: Arc<Outbox>,
    /// Calls the Node thread; kept to hold the process while work is underway.
    bell: sys::napi_threadsafe_function,
    functions: Arc<Mutex<HashMap<u32, Arc<Function>>>>,
    /// Requests by slot, while they are underway: their tasks own them.
    requests: Mutex<Vec<Weak<Request>>>,
}

/// The settings of a function, as JavaScript says them.
#[napi(object)]
pub struct FunctionSettings {
    /// Limit of an instance's memory, in bytes.
    pub memory: f64,
    /// Limit of the CPU time of one request, in milliseconds; 0 for none.
    pub cpu: f64,
    /// The name of its workload, whose functions share the CPU time that is theirs.
    pub workload: String,
    /// 0 to 9, 9 being the most urgent.
    pub priority: u32,
    /// Requests that one instance may serve.
    pub reuse: u32,
    /// The environment, names and values in turn.
    pub env: Vec<String>,
    /// What wasi:config tells it, names and values in turn.
    pub config: Vec<String>,
    /// Outbound requests of one request, in all and at once; 0 for none.
    pub outbound_requests: u32,
    pub outbound_at_once: u32,
}

impl From<FunctionSettings> for Settings {
    fn from(settings: FunctionSettings) -> Self {
        Settings {
            memory_limit: settings.memory as usize,
            cpu_limit: (settings.cpu > 0.0).then(|| Duration::from_secs_f64(settings.cpu / 1000.0)),
            priority: settings.priority.min(MOST_URGENT.into()) as u8,
            reuse: settings.reuse,
            env: pairs(settings.env).collect(),
            grants: Grants {
                config: pairs(settings.config).collect(),
                outbound: Outbound { requests: settings.outbound_requests, at_once: settings.outbound_at_once },
            },
        }
    }
}

/// How the body of a request comes.
const BODY_WHOLE: u32 = 1;
const BODY_STREAM: u32 = 2;

#[napi]
impl NativeEngine {
    /// `on_events` is called with a buffer of events whenever there are any, see outbox.rs. `threads` is how many run guests,
    /// 0 for as many as the machine has cores.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        cache_dir: String,
        cache_key: BufferSlice<'_>,
        discipline: String,
        threads: u32,
        on_events: JsFunction<'_, BufferSlice<'static>, ()>,
    ) -> Result<Self> {
        let key = <[u8; 32]>::try_from(&cache_key[..])
            .map_err(|_| Error::new(Status::InvalidArg, "the cache key must have 32 bytes"))?;
        let outbox = Arc::new(Outbox::default());
        let events = outbox.clone();
        let bell = on_events
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build_callback(move |context| events.drain(|bytes| BufferSlice::copy_from(&context.env, bytes)))?;
        let raw = bell.raw();
        outbox.set_bell(Some(Box::new(move || {
            bell.call((), ThreadsafeFunctionCallMode::NonBlocking);
        })));
        let discipline = Discipline::named(&discipline)
            .ok_or_else(|| Error::new(Status::InvalidArg, "the discipline must be fcfs, slice or sjf"))?;
        let threads = (threads > 0).then_some(threads as usize);
        let engine = Engine::open(cache_dir.into(), key, outbox.clone(), discipline, threads)
            .map_err(|why| Error::new(Status::GenericFailure, why))?;
        // The threads must not outlive this environment's use of the library.
        env.add_env_cleanup_hook(Arc::downgrade(&engine), |engine| {
            if let Some(engine) = engine.upgrade() {
                engine.close();
            }
        })?;
        Ok(NativeEngine {
            engine: Mutex::new(Some(engine)),
            outbox,
            bell: raw,
            functions: Arc::default(),
            requests: Mutex::default(),
        })
    }

    /// While held, the process does not exit by itself.
    #[napi(catch_unwind)]
    pub fn hold(&self, env: Env, held: bool) -> Result<()> {
        if lock(&self.engine).is_none() {
            return Ok(());
        }
        // SAFETY: the function lives until the engine is closed; this is the Node thread, which closes it.
        check_status!(unsafe {
            if held {
                sys::napi_ref_threadsafe_function(env.raw(), self.bell)
            } else {
                sys::napi_unref_threadsafe_function(env.raw(), self.bell)
            }
        })
    }

    /// Compiles and links a component; the outcome comes as a JOB event for `ticket`.
    #[napi(catch_unwind)]
    pub fn compile(&self, ticket: u32, digest: String, path: String) {
        self.job(ticket, move |engine| engine.prepare(&digest, &path).map(drop));
    }

    /// Removes a component from the cache; the outcome comes as a JOB event.
    #[napi(catch_unwind)]
    pub fn forget(&self, ticket: u32, digest: String) {
        self.job(ticket, move |engine| Ok(engine.cache.forget(&digest)?));
    }

    /// Compiles and links a component, and makes it callable as the function `id`.
    #[napi(catch_unwind)]
    pub fn load(&self, ticket: u32, id: u32, digest: String, path: String, settings: FunctionSettings) {
        let functions = self.functions.clone();
        self.job(ticket, move |engine| {
            let code = engine.prepare(&digest, &path)?;
            if code.initial_memory > settings.memory as u64 {
                return Err(Refusal::Memory(code.initial_memory));
            }
            let workload = engine.workloads.named(&settings.workload);
            lock(&functions).insert(id, Arc::new(Function::new(code, settings.into(), workload)));
            Ok(())
        });
    }

    /// Forgets a function. Its code is freed when no other one shares it and its last request is over.
    #[napi(catch_unwind)]
    pub fn unload(&self, id: u32) {
        let function = lock(&self.functions).remove(&id);
        if let (Some(function), Some(engine)) = (function, lock(&self.engine).clone()) {
            engine.clone().spawn_blocking(move || {
                function.crowd.close();
                function.kept.clear(&engine);
            });
        }
    }

    /// Starts a request under a slot that is free. `head` is packed as head.rs says, `fields` the number of its fields;
    /// `remaining` is the time to the deadline in milliseconds; `expected` the CPU time that it is expected to take, in
    /// microseconds, 0 when nobody knows; `body` how the body comes: not at all, whole, or as a stream. Gives back why the request cannot be served as it is, or null.
    #[allow(clippy::too_many_arguments, reason = "one call for each request, and objects would cost more")]
    #[napi(catch_unwind)]
    pub fn start(
        &self,
        id: u32,
        slot: u32,
        head: Latin1,
        fields: u32,
        https: bool,
        remaining: f64,
        expected: f64,
        body: u32,
        bytes: Option<BufferSlice<'_>>,
    ) -> Result<Option<String>> {
        let function = lock(&self.functions).get(&id).cloned();
        let function = function.ok_or_else(|| Error::new(Status::InvalidArg, "no such function"))?;
        let engine = lock(&self.engine).clone();
        let engine = engine.ok_or_else(|| Error::new(Status::InvalidArg, "the engine is closed"))?;
        let outbox = self.outbox.clone();
        let (stream, incoming) = match (body, bytes) {
            (BODY_WHOLE, Some(bytes)) => (None, IncomingBody::Whole(Some(Bytes::copy_from_slice(&bytes)))),
            (BODY_STREAM, _) => {
                let (stream, incoming) = RequestBody::stream(slot, outbox.clone());
                (Some(stream), incoming)
            }
            _ => (None, IncomingBody::Empty),
        };
        let head = match head::parse(head.0.into(), fields as usize, https, incoming) {
            Ok(head) => head,
            Err(why) => return Ok(Some(why)),
        };
        let remaining = Duration::try_from_secs_f64(remaining / 1000.0).unwrap_or_default();
        // A deadline beyond what the clock can count is none.
        let now = Instant::now();
        let deadline = now.checked_add(remaining).unwrap_or_else(|| now + Duration::from_secs(86_400 * 365));
        let head_only = head.method() == http::Method::HEAD;
        // What is no time, as NaN, is nothing.
        let expected = Duration::try_from_secs_f64(expected / 1e6).ok().filter(|expected| !expected.is_zero());
        let request = Request::new(slot, now, deadline, expected, head_only, function, stream, outbox);
        let mut requests = lock(&self.requests);
        let at = slot as usize;
        if requests.len() <= at {
            requests.resize(at + 1, Weak::new());
        }
        requests[at] = Arc::downgrade(&request);
        drop(requests);
        task::spawn(&engine, request, head);
        Ok(None)
    }

    /// Hands over a piece of the request's body; gives back a number of `body::Pushed`.
    #[napi(catch_unwind)]
    pub fn push(&self, slot: u32, bytes: BufferSlice<'_>) -> u32 {
        let Some(request) = self.request(slot) else { return Pushed::Unwanted as u32 };
        let Some(body) = &request.body else { return Pushed::Unwanted as u32 };
        request.note_received(bytes.len());
        body.push(Bytes::copy_from_slice(&bytes)) as u32
    }

    /// Ends the request's body; `trailers` are packed like headers, empty for none.
    #[napi(catch_unwind)]
    pub fn end(&self, slot: u32, trailers: Latin1) {
        if let Some(body) = self.body(slot) {
            match (trailers.0.is_empty(), head::parse_trailers(&trailers.0)) {
                (true, _) => body.end(None),
                (false, Some(trailers)) => body.end(Some(trailers)),
                (false, None) => body.break_off(),
            }
        }
    }

    /// The request's body broke off.
    #[napi(catch_unwind)]
    pub fn fail(&self, slot: u32) {
        if let Some(body) = self.body(slot) {
            body.break_off();
        }
    }

    /// The client took so many bytes of the answer.
    #[napi(catch_unwind)]
    pub fn taken(&self, slot: u32, bytes: u32) {
        if let Some(request) = self.request(slot) {
            request.taken(bytes as usize);
        }
    }

    /// Ends a request that nobody waits for any more.
    #[napi(catch_unwind)]
    pub fn stop(&self, slot: u32) {
        if let Some(request) = self.request(slot) {
            request.stop();
        }
    }

    /// The figures of a function, see `Figures::list`.
    #[napi(catch_unwind)]
    pub fn stats(&self, id: u32) -> Vec<f64> {
        let function = lock(&self.functions).get(&id).cloned();
        function.map_or_else(|| Figures::default().list(), |function| function.figures.list())
    }

    /// Bytes of memory that places for instances keep while nobody uses them.
    #[napi(catch_unwind)]
    pub fn kept_bytes(&self) -> f64 {
        lock(&self.engine).as_ref().map_or(0.0, |engine| engine.pools.kept_bytes() as f64)
    }

    /// Ends everything. Requests that are not over fail as stopped.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let Some(engine) = lock(&self.engine).take() else { return };
        engine.close();
        lock(&self.functions).clear();
        lock(&self.requests).clear();
        // With it goes the threadsafe function, which holds the outbox.
        self.outbox.set_bell(None);
    }

    fn request(&self, slot: u32) -> Option<Arc<Request>> {
        lock(&self.requests).get(slot as usize)?.upgrade()
    }

    fn body(&self, slot: u32) -> Option<Arc<BodyStream>> {
        self.request(slot)?.body.clone()
    }

    /// Runs a job away from the Node thread and tells its outcome.
    fn job(&self, ticket: u32, work: impl FnOnce(&Engine) -> std::result::Result<(), Refusal> + Send + 'static) {
        let Some(engine) = lock(&self.engine).clone() else { return };
        engine.clone().spawn_blocking(move || {
            let work = std::panic::AssertUnwindSafe(|| work(&engine));
            let outcome = std::panic::catch_unwind(work)
                .unwrap_or_else(|_| Err(Refusal::Internal("the compiler panicked".into())));
            let (status, detail) = match outcome {
                Ok(()) => (0, String::new()),
                Err(refusal) => (refusal.code(), refusal.detail()),
            };
            let event = Event { slot: ticket, flags: flag::JOB, status, head: detail.as_bytes(), ..Event::default() };
            engine.outbox.push(&event);
        });
    }
}

/// Names and values in turn as pairs.
fn pairs(flat: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let mut values = flat.into_iter();
    std::iter::from_fn(move || Some((values.next()?, values.next()?)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
