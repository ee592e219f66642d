//! wasi:http/incoming-handler@0.2: the guest is called with a request and a place for its answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http_body::Body;
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::body::IncomingBody;
use crate::failure::{Failure, ServeError};
use crate::host::Host;
use crate::request::Request;

type Given = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

pub async fn serve(
    store: &mut Store<Host>,
    proxy: &Proxy,
    head: http::Request<IncomingBody>,
    request: &Arc<Request>,
) -> Result<(), ServeError> {
    let https = head.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
    let scheme = if https { Scheme::Https } else { Scheme::Http };
    let incoming = store.data_mut().http().new_incoming_request(scheme, head)?;
    let answer = Arc::new(Mutex::new(None));
    let set = answer.clone();
    let out = store.data_mut().http().new_response_outparam_from_callback(move |value| {
        *set.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    })?;
    let mut call = pin!(proxy.wasi_http_incoming_handler().call_handle(&mut *store, incoming, out));

    // One loop drives the guest and takes its answer: a guest that never waits is served in a single turn, without
    // a second task or a channel.
    let mut returned = false;
    let mut answered = false;
    let mut body: Option<HyperOutgoingBody> = None;
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            if !returned && let Poll::Ready(result) = call.as_mut().poll(cx) {
                if let Err(error) = result {
                    let waiting = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return Poll::Ready(Err(overrun(waiting, body.take(), request, cx).unwrap_or(error.into())));
                }
                returned = true;
                moved = true;
            }
            if !answered && let Some(value) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                answered = true;
                moved = true;
                let response = value.map_err(|code| Failure::Error(format!("{code:?}")))?;
                let (parts, rest) = response.into_parts();
                request.reply().head(parts.status, &parts.headers, request.head_only)?;
                body = Some(rest);
            }
            if let Some(rest) = body.as_mut() {
                match poll_body(rest, request, cx)? {
                    Progress::Ended => {
                        body = None;
                        moved = true;
                    }
                    Progress::Moved => moved = true,
                    Progress::Waits => {}
                    // Nobody is left who could write the rest.
                    Progress::Empty if returned => {
                        request.reply().cut(Failure::Unfinished)?;
                        body = None;
                        moved = true;
                    }
                    Progress::Empty => {}
                }
            }
            if returned && body.is_none() {
                let done = if answered { Ok(()) } else { Err(Failure::NoAnswer.into()) };
                return Poll::Ready(done);
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// A guest that writes more than its Content-Length says is told so, and many die of that: then the length is the reason, and
/// not what they died of. The body has what it wrote last.
fn overrun(
    waiting: Option<Given>,
    body: Option<HyperOutgoingBody>,
    request: &Request,
    cx: &mut Context<'_>,
) -> Option<ServeError> {
    let mut body = match (waiting, body) {
        (Some(Ok(response)), _) => {
            let (parts, body) = response.into_parts();
            request.reply().head(parts.status, &parts.headers, request.head_only).ok()?;
            body
        }
        (_, body) => body?,
    };
    let mut more = 0;
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(cx) {
        more += frame.data_ref().map_or(0, |piece| piece.len() as u64);
    }
    request.reply().overrun(more).map(ServeError::from)
}

pub enum Progress {
    /// Something was handed over.
    Moved,
    /// The client must take something first.
    Waits,
    /// The guest has written nothing more.
    Empty,
    Ended,
}

/// Hands over what the guest has written, as far as the client has room for it.
pub fn poll_body<B>(body: &mut B, request: &Request, cx: &mut Context<'_>) -> Result<Progress, ServeError>
where
    B: Body<Data = bytes::Bytes, Error = wasmtime_wasi_http::Error> + Unpin,
{
    let mut moved = false;
    loop {
        if request.poll_room(cx).is_pending() {
            return Ok(if moved { Progress::Moved } else { Progress::Waits });
        }
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Ok(if moved { Progress::Moved } else { Progress::Empty }),
            Poll::Ready(None) => {
                request.reply().end()?;
                return Ok(Progress::Ended);
            }
            Poll::Ready(Some(Err(error))) => {
                request.reply().cut(Failure::BadAnswer(format!("its body broke off ({error})")))?;
                return Ok(Progress::Ended);
            }
            Poll::Ready(Some(Ok(frame))) => {
                moved = true;
                match frame.into_data() {
                    Ok(piece) => request.reply().data(piece)?,
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            request.reply().trailers(&trailers);
                        }
                    }
                }
            }
        }
    }
}
