//! From a component's file to code that can serve: compiled or taken from the cache, then linked.

use std::{fs, io, thread};

use wasmtime::component::Component;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::cache::Found;
use crate::code::{Code, Linked, Source};
use crate::engine::Engine;
use crate::failure::first_line;
use crate::pools::{Pool, Pools};

/// Why a component cannot be served. The codes are shared with runtime/drivers/wasm/wasmtime/failures.ts.
#[derive(Debug)]
pub enum Refusal {
    NotWasm,
    CoreModule,
    Invalid(String),
    /// It asks for more than an instance may have.
    TooLarge(String),
    ImportNotOffered(String),
    NoHandler,
    /// Bytes that it needs from its start.
    Memory(u64),
    Unreadable(String),
    Internal(String),
}

impl Refusal {
    pub fn code(&self) -> u32 {
        match self {
            Refusal::NotWasm => 1,
            Refusal::CoreModule => 2,
            Refusal::Invalid(_) => 3,
            Refusal::ImportNotOffered(_) => 4,
            Refusal::NoHandler => 5,
            Refusal::Memory(_) => 6,
            Refusal::Unreadable(_) => 7,
            Refusal::Internal(_) => 8,
            Refusal::TooLarge(_) => 9,
        }
    }

    pub fn detail(&self) -> String {
        match self {
            Refusal::Invalid(why) | Refusal::TooLarge(why) | Refusal::Unreadable(why) | Refusal::Internal(why) => {
                why.clone()
            }
            Refusal::ImportNotOffered(name) => name.clone(),
            Refusal::Memory(bytes) => bytes.to_string(),
            _ => String::new(),
        }
    }
}

/// Compiles the component unless the cache has it, and links it. Blocks: not for a thread that serves.
pub fn prepare(engine: &Engine, digest: &str, path: &str) -> Result<Code, Refusal> {
    match engine.cache.find(digest) {
        Found::Code(verified) => match Code::open(Source::File(verified), &engine.pools) {
            // It is this node's, and cannot be read all the same.
            Err(Refusal::Internal(why)) => {
                engine.outbox.warn(&format!("compiled code of {digest} is made again: {why}"));
                engine.cache.forget(digest)?;
            }
            opened => return opened,
        },
        Found::Nothing => {}
        Found::Unusable(why) => engine.outbox.warn(&format!("compiled code is not used and made again: {why}")),
    }
    let opened = open_compiled(compile(engine, digest, path)?, &engine.pools);
    if matches!(opened, Err(Refusal::TooLarge(_))) {
        engine.cache.forget(digest)?;
    }
    opened
}

/// Loads code that was compiled just now, by this engine: what does not load asks for more than a place has.
pub fn open_compiled(source: Source, pools: &Pools) -> Result<Code, Refusal> {
    Code::open(source, pools).map_err(|refusal| match refusal {
        // The last cause names the limit.
        Refusal::Internal(why) => Refusal::TooLarge(first_line(why.rsplit(": ").next().unwrap_or(&why))),
        other => other,
    })
}

/// What the functions that were compiled are called in the cache, where others have their component's digest.
const COMPILED: &str = "functions";

fn compile(engine: &Engine, digest: &str, path: &str) -> Result<Source, Refusal> {
    // One at a time: a second one would only take memory and CPU from the first.
    let _turn = engine.compiling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The one before may have compiled the same.
    if let Found::Code(verified) = engine.cache.find(digest) {
        return Ok(Source::File(verified));
    }
    let wasm = fs::read(path).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    if let Found::Code(known) = engine.cache.find(COMPILED) {
        engine.pools.compiled.open(&known.bytes()?);
    } else {
        engine.pools.compiled.open(&[]);
    }
    let compiled = in_the_background(|| translate(engine.pools.compiler(), &wasm));
    drop(wasm);
    // Before the outcome is looked at: it takes memory.
    if let Some(known) = engine.pools.compiled.close()
        && let Err(error) = engine.cache.store(COMPILED, &known)
    {
        engine.outbox.warn(&format!("compiled functions could not be kept: {error}"));
    }
    let code = compiled.map_err(|error| Refusal::Internal(error.to_string()))??;
    let kept = engine.cache.store(digest, &code);
    // The compiler leaves the allocator with hundreds of megabytes that it would not give back by itself.
    give_back_memory();
    if let Err(error) = kept {
        engine.outbox.warn(&format!("compiled code could not be kept: {error}"));
    } else if let Found::Code(verified) = engine.cache.find(digest) {
        return Ok(Source::File(verified));
    }
    Ok(Source::Bytes(code))
}

/// Validates a component's bytes and compiles them to native code.
pub fn translate(compiler: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, Refusal> {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => return Err(Refusal::CoreModule),
        Some([0, b'a', b's', b'm', ..]) => {}
        _ => return Err(Refusal::NotWasm),
    }
    compiler.precompile_component(wasm).map_err(|error| Refusal::Invalid(first_line(&format!("{error:#}"))))
}

/// Runs the compiler on as many threads as there are cores, at a low priority so that it yields to what is served.
fn in_the_background<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, rayon::ThreadPoolBuildError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|at| format!("skerry-compile-{at}"))
        .start_handler(|_| lower_priority())
        .build()?;
    Ok(pool.install(work))
}

/// Gives what this process has freed back to the system.
fn give_back_memory() {
    // SAFETY: malloc_trim may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

fn lower_priority() {
    // SAFETY: on Linux, PRIO_PROCESS with 0 is the calling thread. A refusal changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Links a component for a pool.
pub fn link(pool: &Pool, component: &Component) -> Result<Linked, Refusal> {
    let exports: Vec<String> =
        component.component_type().exports(&pool.wasmtime).map(|(name, _)| name.to_string()).collect();
    let exported = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    let pre = pool.linker.instantiate_pre(component).map_err(|error| refused_import(&error))?;
    let linked = if exported("wasi:http/handler@0.3") {
        ServicePre::new(pre).map(Linked::P3)
    } else if exported("wasi:http/incoming-handler@0.2") {
        ProxyPre::new(pre).map(Linked::P2)
    } else {
        return Err(Refusal::NoHandler);
    };
    linked.map_err(|error| Refusal::Invalid(first_line(&format!("{error:#}"))))
}

/// wasmtime names the import in backquotes.
fn refused_import(error: &wasmtime::Error) -> Refusal {
    let text = format!("{error:#}");
    match text.split('`').nth(1) {
        Some(name) if text.contains("import") => Refusal::ImportNotOffered(name.to_string()),
        _ => Refusal::ImportNotOffered(first_line(&text)),
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Internal(error.to_string())
    }
}
