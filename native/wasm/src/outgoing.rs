//! Outgoing HTTP of a guest: denied. Whether and where a function may call is decided here and nowhere else.

use std::future;

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// A piece of an answer's body that the guest may hand over at once, and how many of them wait for the client.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 2;

pub struct Outgoing;

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(&mut self, _: http::Request<WasiBody>, _: Option<RequestOptions>, _: Io) -> Sent {
        Box::new(future::ready(Err(Error::HttpRequestDenied)))
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
