//! From a request to an instance that serves it.

use std::sync::Arc;

use wasmtime::Store;

use crate::body::IncomingBody;
use crate::engine::Engine;
use crate::failure::{Failure, ServeError, classify};
use crate::host::Host;
use crate::instance::{Exports, Instance, Kept};
use crate::request::Request;
use crate::{serve_p2, serve_p3};

/// Serves one request, in a fresh instance or one that was kept.
pub async fn serve(
    engine: Arc<Engine>,
    request: Arc<Request>,
    head: http::Request<IncomingBody>,
) -> Result<(), Failure> {
    let function = request.function.clone();
    let mut instance = match function.kept.take(&engine, &request) {
        Some(instance) => instance,
        None => match Instance::make(&engine, &request).await? {
            Ok(instance) => instance,
            Err(unmade) => {
                let (store, error) = *unmade;
                function.figures.note_peak(store.data().limits.peak());
                return outcome(error.into(), &store, &request);
            }
        },
    };
    let served = match &instance.exports {
        Exports::P2(proxy) => serve_p2::serve(&mut instance.store, proxy, head, &request).await,
        Exports::P3(service) => serve_p3::serve(&mut instance.store, service, head, &request).await,
    };
    function.figures.note_peak(instance.store.data().limits.peak());
    let whole = served.is_ok();
    let result = served.or_else(|error| outcome(error, &instance.store, &request));
    // One that failed, or was left by an exit, may be in any state.
    if whole && function.settings.reuse > 1 {
        // Before the last word: the client's next request may use it.
        Kept::put(&engine, &function, instance);
        request.finish(result.clone());
    } else {
        // Before the instance is taken down: the client need not wait for that.
        request.finish(result.clone());
        drop(instance);
    }
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
