//! What the Node side answers to the calls of guests (calls.rs). A call that is over, or whose request is, is answered in
//! vain: that is no fault, both sides may say their last at the same time.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;
use wasmtime_wasi_http::Error;

use crate::NativeEngine;
use crate::body::Pushed;
use crate::exchange::Exchange;
use crate::latin1::Latin1;
use crate::{error_code, head};

#[napi]
impl NativeEngine {
    /// The head of the answer to an outbound request; `headers` are packed as head.rs says.
    #[napi(catch_unwind)]
    pub fn outbound_head(&self, slot: u32, call: u32, status: u32, headers: Latin1) {
        let Some(exchange) = self.exchange(slot, call) else { return };
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        match (status, head::parse_trailers(&headers.0)) {
            (Some(status), Some(headers)) => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                exchange.head(response);
            }
            _ => exchange.fail(Error::HttpProtocolError),
        }
    }

    /// Hands over a piece of the answer's body; gives back a number of `body::Pushed`.
    #[napi(catch_unwind)]
    pub fn outbound_push(&self, slot: u32, call: u32, bytes: BufferSlice<'_>) -> u32 {
        if let Some(request) = self.request(slot) {
            request.note_received(bytes.len());
        }
        let exchange = self.exchange(slot, call);
        exchange.map_or(Pushed::Unwanted, |exchange| exchange.body.push(Bytes::copy_from_slice(&bytes))) as u32
    }

    /// Ends the answer; `trailers` are packed like headers, empty for none.
    #[napi(catch_unwind)]
    pub fn outbound_end(&self, slot: u32, call: u32, trailers: Latin1) {
        let Some(exchange) = self.last_of(slot, call) else { return };
        match (trailers.0.is_empty(), head::parse_trailers(&trailers.0)) {
            (true, _) => exchange.end(None),
            (false, Some(trailers)) => exchange.end(Some(trailers)),
            (false, None) => exchange.fail(Error::HttpProtocolError),
        }
    }

    /// The outbound request failed; `kind` is one of runtime/egress.
    #[napi(catch_unwind)]
    pub fn outbound_fail(&self, slot: u32, call: u32, kind: String) {
        if let Some(exchange) = self.last_of(slot, call) {
            exchange.fail(error_code::of(&kind));
        }
    }

    /// So many bytes of the outbound request's body were taken.
    #[napi(catch_unwind)]
    pub fn outbound_taken(&self, slot: u32, call: u32, bytes: u32) {
        if let Some(exchange) = self.exchange(slot, call) {
            exchange.taken(bytes as usize);
        }
    }

    /// Nobody takes more of the outbound request's body.
    #[napi(catch_unwind)]
    pub fn outbound_unwanted(&self, slot: u32, call: u32) {
        if let Some(exchange) = self.exchange(slot, call) {
            exchange.unwanted();
        }
    }

    /// Answers an operation on stored keys with an outcome code of keyvalue.rs, and its results, packed as operands.rs says,
    /// or what went wrong in UTF-8.
    #[napi(catch_unwind)]
    pub fn keyvalue_answer(&self, slot: u32, call: u32, outcome: u32, bytes: BufferSlice<'_>) {
        if let Some(request) = self.request(slot) {
            request.calls.answer(call, (outcome, Bytes::copy_from_slice(&bytes)));
        }
    }

    fn exchange(&self, slot: u32, call: u32) -> Option<Arc<Exchange>> {
        self.request(slot)?.calls.exchange(call)
    }

    fn last_of(&self, slot: u32, call: u32) -> Option<Arc<Exchange>> {
        self.request(slot)?.calls.last_of(call)
    }
}
