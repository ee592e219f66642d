//! wasi:http/handler@0.3: an async function from a request to a response, whose bodies are streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use wasmtime::component::Accessor;
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p3::Request as GuestRequest;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::body::IncomingBody;
use crate::failure::{Failure, ServeError};
use crate::host::Host;
use crate::request::Request;
use crate::serve_p2::{Progress, poll_body};

pub async fn serve(
    store: &mut Store<Host>,
    service: &Service,
    head: http::Request<IncomingBody>,
    request: &Arc<Request>,
) -> Result<(), ServeError> {
    store
        .run_concurrent(async |accessor: &Accessor<Host>| -> Result<(), ServeError> {
            answer(accessor, service, head, request).await?;
            // The answer is complete; what the guest still has to do it may finish.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}

/// Has the guest answer, to the end of the answer's body.
pub async fn answer(
    accessor: &Accessor<Host>,
    service: &Service,
    head: http::Request<IncomingBody>,
    request: &Arc<Request>,
) -> Result<(), ServeError> {
    let (guest_request, sent) = accessor.with(|mut access| {
        let (guest_request, sent) = GuestRequest::from_http(access.data_mut().http().hooks, head);
        // Boxed, since its type borrows from `access` although it does not.
        let sent: Pin<Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>> = Box::pin(sent);
        (guest_request, sent)
    });
    let handle = service.wasi_http_handler().func_handle();
    let call = accessor.with(|mut access| -> wasmtime::Result<_> {
        let guest_request = access.data_mut().table.push(guest_request)?;
        let call = handle.start_call_concurrent(access.as_context_mut(), (guest_request,))?;
        access.data_mut().begun(call.task(), request);
        Ok(call)
    })?;
    let (response,) = handle.finish_call_concurrent(accessor, call).await?;
    let response = response.map_err(|code| Failure::Error(format!("{code:?}")))?;
    let response = accessor.with(|mut access| -> wasmtime::Result<_> {
        let response = access.data_mut().table.delete(response)?;
        response.into_http(&mut access, sent)
    })?;
    let (parts, mut body) = response.into_parts();
    request.reply().head(parts.status, &parts.headers, request.head_only)?;
    poll_fn(|cx| {
        loop {
            match poll_body(&mut body, request, cx) {
                Ok(Progress::Ended) => return Poll::Ready(Ok(())),
                Ok(Progress::Moved) => {}
                Ok(Progress::Waits | Progress::Empty) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    })
    .await
}
