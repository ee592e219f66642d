//! From a request to an instance that serves it.

use std::sync::Arc;

use wasmtime::Store;

use crate::body::IncomingBody;
use crate::engine::Engine;
use crate::failure::{Failure, ServeError, classify};
use crate::function::Code;
use crate::host::Host;
use crate::request::Request;
use crate::{serve_p2, serve_p3};

/// Serves one request in a fresh instance.
pub async fn serve(
    engine: Arc<Engine>,
    request: Arc<Request>,
    head: http::Request<IncomingBody>,
) -> Result<(), Failure> {
    // Waits while every slot of the pool is taken; the deadline goes on.
    let _place = engine.places.acquire().await.map_err(|_| Failure::Stopped)?;
    let mut store = Host::store(&engine.wasmtime, &request);
    let served = match &*request.function.code {
        Code::P2(code) => serve_p2::serve(&mut store, code, head, &request).await,
        Code::P3(code) => serve_p3::serve(&mut store, code, head, &request).await,
    };
    request.function.note_peak(store.data().limits.peak());
    let result = served.or_else(|error| outcome(error, &store, &request));
    // Said before the store is dropped: the client need not wait for the instance to be taken down.
    request.finish(result.clone());
    result
}

fn outcome(error: ServeError, store: &Store<Host>, request: &Request) -> Result<(), Failure> {
    if let Some(failure) = request.must_end() {
        return Err(failure);
    }
    match error {
        ServeError::Failure(failure) => Err(failure),
        ServeError::Wasm(error) => {
            let (failure, log) = classify(&error, &store.data().limits);
            // A command's habit: it answers, then calls exit.
            if matches!(failure, Failure::Exited(_)) && request.is_answered() {
                return Ok(());
            }
            if let Some(log) = log {
                request.log(log);
            }
            Err(failure)
        }
    }
}
