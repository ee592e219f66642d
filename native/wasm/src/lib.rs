//! Skerry's native Wasm engine as a Node-API module. This file is all that JavaScript sees of it: plain calls with
//! numbers, packed strings and bytes. Its other half is runtime/drivers/wasm/wasmtime/.

mod body;
mod cache;
mod clock;
mod component;
mod config;
mod engine;
mod failure;
mod function;
mod head;
mod host;
mod limits;
mod outbox;
mod outgoing;
mod output;
mod queue;
mod reply;
mod request;
mod serve;
mod serve_p2;
mod serve_p3;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use napi::bindgen_prelude::{BufferSlice, FromNapiValue, Function as JsFunction, TypeName, ValidateNapiValue};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Env, Error, Result, Status, ValueType, check_status, sys};
use napi_derive::napi;

use crate::body::{BodyStream, IncomingBody};
use crate::component::Refusal;
use crate::engine::Engine;
use crate::function::Function;
use crate::outbox::{Event, Outbox, flag};
use crate::request::Request;

/// The version of wasmtime, from the lock file that this library was built with.
#[napi]
pub fn version() -> &'static str {
    env!("WASMTIME_VERSION")
}

#[napi(js_name = "Engine")]
pub struct NativeEngine {
    engine: Arc<Engine>,
    /// Calls the Node thread; kept to hold the process while work is underway.
    bell: sys::napi_threadsafe_function,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    functions: HashMap<u32, Arc<Function>>,
    /// Requests by slot. Only the Node thread makes and ends them.
    requests: HashMap<u32, Arc<Request>>,
}

#[napi]
impl NativeEngine {
    /// `on_events` is called with a buffer of events whenever there are any, see outbox.rs.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        cache_dir: String,
        cache_key: BufferSlice<'_>,
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
            .build_callback(move |context| {
                events.drain(|bytes| BufferSlice::copy_from(&context.env, bytes))
            })?;
        let raw = bell.raw();
        outbox.set_bell(Box::new(move || {
            bell.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }));
        let engine = Engine::open(cache_dir.into(), key, outbox)
            .map_err(|why| Error::new(Status::GenericFailure, why))?;
        // The threads must not outlive the library's use by this environment.
        env.add_env_cleanup_hook(engine.clone(), |engine| engine.close())?;
        Ok(NativeEngine { engine, bell: raw, state: Mutex::default() })
    }

    /// While held, the process does not exit by itself.
    #[napi(catch_unwind)]
    pub fn hold(&self, env: Env, held: bool) -> Result<()> {
        // SAFETY: the function lives as long as the outbox, which `engine` keeps; this is the Node thread.
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

    /// The same, and gives the function `id` to it. `env` has names and values in turn.
    #[napi(catch_unwind)]
    pub fn load(&self, this: ThisEngine, ticket: u32, id: u32, digest: String, path: String, memory: f64, env: Vec<String>) {
        let _ = (this, ticket, id, digest, path, memory, env);
    }
}
