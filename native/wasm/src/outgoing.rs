//! The HTTP that a guest sends: its answers' body chunks, and its outbound requests, which Node makes. Whether and where a
//! function may call is decided there (runtime/egress); here is counted how often.

use std::fmt::Write;
use std::future::{self, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, FieldBudget, RequestOptions, WasiBody, WasiHttpHooks};

use crate::body::{StreamEnd, Upstream};
use crate::calls::{Call, Calls, Line, op};
use crate::exchange::Exchange;
use crate::failures;
use crate::head;
use crate::host::Current;
use crate::outbox::flag;
use crate::request::Request;

/// A piece of an answer's body that the guest may hand over at once, and how many of them wait for the client.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 2;

/// Bytes that are taken of a body that nobody wants: as many as one request may send. A guest that writes without end then
/// hears that it may stop.
const SWALLOWED: usize = 256 << 20;

pub struct Outgoing {
    current: Arc<Current>,
    /// Whose the next request is, where that is known better; the inner one is missing when nobody waits for it.
    owner: Option<Option<Arc<Request>>>,
    /// What header sets and messages are charged to.
    budget: Arc<dyn FieldBudget>,
}

impl Outgoing {
    pub fn new(current: Arc<Current>, budget: Arc<dyn FieldBudget>) -> Self {
        Outgoing { current, owner: None, budget }
    }

    /// Says whose the next request is.
    pub fn belongs_to(&mut self, owner: Option<Arc<Request>>) {
        self.owner = Some(owner);
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn field_budget(&mut self) -> Option<Arc<dyn FieldBudget>> {
        Some(self.budget.clone())
    }

    /// Node makes the header of the authority.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Io) -> Sent {
        let Some(serving) = self.owner.take().unwrap_or_else(|| self.current.get()) else {
            return Box::new(future::ready(Err(Error::HttpRequestDenied)));
        };
        let origin = failures::origin_of(request.uri());
        match Calls::send(&serving) {
            Ok((call, exchange)) => Box::new(async move {
                let sent = send(call, exchange, request, options.unwrap_or_default()).await;
                sent.inspect_err(|error| serving.failures.note(origin, error))
            }),
            Err(error) => Box::new(async move {
                serving.failures.note(origin, &error);
                tokio::spawn(swallow(request.into_body()));
                Err(error)
            }),
        }
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

/// Sends the request and waits for the head of its answer. What is left of the request's body is sent by the second future
/// that this resolves to.
async fn send(
    call: Call,
    exchange: Arc<Exchange>,
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<(http::Response<WasiBody>, Io), Error> {
    let (parts, body) = request.into_parts();
    let mut head = Some(pack(&parts, &options)?);
    let mut upload = Upload { body: Some(body), exchange: exchange.clone(), line: call.line().clone() };
    let answered = poll_fn(|cx| {
        exchange.register(cx);
        if let Poll::Ready(Err(error)) = upload.poll(head.take(), cx) {
            return Poll::Ready(Err(error));
        }
        exchange.poll_head()
    })
    .await;
    let response = match answered {
        Ok(response) => response,
        Err(error) => {
            if let Some(body) = upload.body {
                tokio::spawn(swallow(body));
            }
            return Err(error);
        }
    };
    let body = StreamEnd::new(exchange.body.clone(), call).boxed_unsync();
    let io: Io = match upload.body {
        None => Box::new(future::ready(Ok(()))),
        Some(_) => Box::new(poll_fn(move |cx| {
            upload.exchange.register(cx);
            upload.poll(None, cx)
        })),
    };
    Ok((response.map(|()| body), io))
}

/// Takes a body that nobody wants, as far as the guest writes it: many guests write all of theirs before they look for the
/// answer, and would never see it if writing failed. It ends with the guest.
async fn swallow(mut body: WasiBody) {
    let mut left = SWALLOWED;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            break;
        }
    }
}

/// The body of an outbound request on its way to Node.
struct Upload {
    /// None when nothing more is sent of it.
    body: Option<WasiBody>,
    exchange: Arc<Exchange>,
    line: Line,
}

impl Upload {
    /// Hands over what the guest has written, as far as there is room, the first time behind the head. An error is that of
    /// the guest.
    fn poll(&mut self, head: Option<Vec<u8>>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut end = 0;
        let mut outcome = Poll::Pending;
        while let Some(body) = &mut self.body {
            // The answer came before the body was sent, or Node takes no more of it.
            if self.exchange.is_unwanted() {
                if let Some(body) = self.body.take() {
                    tokio::spawn(swallow(body));
                }
                outcome = Poll::Ready(Ok(()));
                break;
            }
            if !self.exchange.has_room() {
                break;
            }
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.body = None;
                    end = flag::END;
                    outcome = Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.body = None;
                    // Before the head Node knows nothing of the request yet, and need not.
                    if head.is_none() {
                        self.line.tell(op::SEND_BROKEN, 0, &[], &[]);
                    }
                    return Poll::Ready(Err(error));
                }
                // Trailers of a request are not sent, see runtime/egress/egress.ts.
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data()
                        && !piece.is_empty()
                    {
                        self.exchange.note_sent(piece.len());
                        pieces.push(piece);
                    }
                }
            }
        }
        if let Some(head) = head {
            self.line.tell(op::SEND, end, &head, &pieces);
        } else if end != 0 || !pieces.is_empty() {
            self.line.tell(op::SEND_BODY, end, &[], &pieces);
        }
        outcome
    }
}

/// A request's head as it goes to Node, its fields separated by line feeds: the three timeouts in milliseconds, empty where
/// there is none, then scheme, method, authority, target, header names and values in turn.
fn pack(parts: &http::request::Parts, options: &RequestOptions) -> Result<Vec<u8>, Error> {
    let scheme = parts.uri.scheme_str().ok_or(Error::HttpProtocolError)?;
    let authority = parts.uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let mut text = String::new();
    for timeout in [options.connect_timeout, options.first_byte_timeout, options.between_bytes_timeout] {
        if let Some(timeout) = timeout {
            // Zero would be no time at all; Node's clock has no finer unit.
            let _ = write!(text, "{}", timeout.max(Duration::from_millis(1)).as_millis());
        }
        text.push('\n');
    }
    let _ = write!(text, "{scheme}\n{}\n{authority}\n{target}", parts.method);
    let mut packed = text.into_bytes();
    let headers = head::pack(&parts.headers);
    if !headers.is_empty() {
        packed.push(b'\n');
        packed.extend_from_slice(&headers);
    }
    Ok(packed)
}

impl Upstream for Call {
    fn resume(&self) {
        self.line().tell(op::RESUME, 0, &[], &[]);
    }

    /// Said by the drop of the call, which follows.
    fn unwanted(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_goes_to_node_with_its_timeouts() {
        let request = http::Request::put("https://api.example:8443/a%20b?c=d").header("x-one", "1").body(()).unwrap();
        let options = RequestOptions { connect_timeout: Some(Duration::from_secs(2)), ..RequestOptions::default() };
        let packed = pack(&request.into_parts().0, &options).unwrap();
        assert_eq!(String::from_utf8(packed).unwrap(), "2000\n\n\nhttps\nPUT\napi.example:8443\n/a%20b?c=d\nx-one\n1");
    }

    #[test]
    fn a_request_to_nowhere_is_not_sent() {
        let request = http::Request::get("/path").body(()).unwrap();
        assert!(pack(&request.into_parts().0, &RequestOptions::default()).is_err());
    }
}
