//! What the guest of one request has asked of Node and waits for: outbound HTTP exchanges and operations on stored keys.
//! Each call has a number; it goes to Node as CALL events (outbox.rs) and is answered by calls into this library
//! (lib.rs). When the request is over, so are its calls: nothing is told of them behind its DONE event.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime_wasi_http::Error;

use crate::exchange::Exchange;
use crate::outbox::{Event, flag};
use crate::request::Request;

/// What a CALL event is about, in the upper half of its flags; shared with runtime/drivers/wasm/wasmtime/calls.ts.
pub mod op {
    /// `head` is an outbound request, `body` the beginning of its body, with END all of it.
    pub const SEND: u32 = 1;
    /// `body` is more of the request's body, with END the last of it.
    pub const SEND_BODY: u32 = 2;
    /// The guest broke off the request's body.
    pub const SEND_BROKEN: u32 = 3;
    /// The guest has room for more of the answer.
    pub const RESUME: u32 = 4;
    /// The guest does not want the answer any more.
    pub const CANCEL: u32 = 5;

    // Operations on stored keys, see keyvalue.rs: `body` has their operands.
    pub const OPEN: u32 = 16;
    pub const GET: u32 = 17;
    pub const SET: u32 = 18;
    pub const DELETE: u32 = 19;
    pub const EXISTS: u32 = 20;
    pub const LIST_BY_POSITION: u32 = 21;
    pub const LIST_BY_KEY: u32 = 22;
    pub const INCREMENT_U64: u32 = 23;
    pub const INCREMENT_S64: u32 = 24;
    pub const GET_MANY: u32 = 25;
    pub const SET_MANY: u32 = 26;
    pub const DELETE_MANY: u32 = 27;
    pub const READ: u32 = 28;
    pub const SWAP: u32 = 29;
}

/// Node's answer to an operation: an outcome code and what belongs to it.
pub type Answer = (u32, Bytes);

#[derive(Default)]
pub struct Calls(Mutex<State>);

#[derive(Default)]
struct State {
    /// The number of the last call.
    last: u32,
    open: BTreeMap<u32, Open>,
    /// Outbound requests so far, and those that the guest holds now.
    sent: u32,
    held: u32,
    /// The developer has been told that one was refused.
    told: bool,
    over: bool,
}

enum Open {
    /// `ended` when Node has no more to say of it.
    Exchange {
        exchange: Arc<Exchange>,
        ended: bool,
    },
    Operation(oneshot::Sender<Answer>),
}

impl Calls {
    /// Opens an outbound exchange, within what the function may have of them in one request.
    pub fn send(request: &Arc<Request>) -> Result<(Call, Arc<Exchange>), Error> {
        let grant = request.function.settings.grants.outbound;
        let mut state = request.calls.lock();
        let refusal = if state.over {
            (Error::ConnectionTerminated, "the request is over".into())
        } else if grant.requests == 0 {
            (Error::HttpRequestDenied, "nothing is on the function's allow-list".into())
        } else if state.sent >= grant.requests {
            (Error::ConnectionLimitReached, format!("one request may make {} of them", grant.requests))
        } else if state.held >= grant.at_once {
            (Error::ConnectionLimitReached, format!("it holds {} of them already", grant.at_once))
        } else {
            return Ok(state.begin(request));
        };
        let told = mem::replace(&mut state.told, true);
        drop(state);
        let (error, why) = refusal;
        if !told {
            request.note(&format!("an outbound request was refused: {why}"));
        }
        Err(error)
    }

    /// Opens an operation and tells Node of it.
    pub fn ask(request: &Arc<Request>, op: u32, operands: Vec<u8>) -> Option<(Call, oneshot::Receiver<Answer>)> {
        let (sender, receiver) = oneshot::channel();
        let mut state = request.calls.lock();
        if state.over {
            return None;
        }
        let number = state.insert(Open::Operation(sender));
        drop(state);
        let line = Line { request: request.clone(), number };
        line.tell(op, 0, &[], &[Bytes::from(operands)]);
        Some((Call(line), receiver))
    }

    /// The exchange of a number, while Node may say anything of it.
    pub fn exchange(&self, number: u32) -> Option<Arc<Exchange>> {
        match self.lock().open.get(&number) {
            Some(Open::Exchange { exchange, ended: false }) => Some(exchange.clone()),
            _ => None,
        }
    }

    /// The exchange of a number, of which Node has no more to say.
    pub fn last_of(&self, number: u32) -> Option<Arc<Exchange>> {
        match self.lock().open.get_mut(&number) {
            Some(Open::Exchange { exchange, ended }) => {
                let before = mem::replace(ended, true);
                (!before).then(|| exchange.clone())
            }
            _ => None,
        }
    }

    /// Answers an operation.
    pub fn answer(&self, number: u32, answer: Answer) {
        let mut state = self.lock();
        if let Some(Open::Operation(_)) = state.open.get(&number)
            && let Some(Open::Operation(sender)) = state.open.remove(&number)
        {
            drop(state);
            // A guest that was dropped in the meantime wants no answer.
            let _ = sender.send(answer);
        }
    }

    /// The request is over.
    pub fn close(&self) {
        let mut state = self.lock();
        state.over = true;
        let open = mem::take(&mut state.open);
        drop(state);
        for open in open.into_values() {
            if let Open::Exchange { exchange, .. } = open {
                exchange.close();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, request: &Arc<Request>) -> (Call, Arc<Exchange>) {
        self.sent += 1;
        self.held += 1;
        let exchange = Arc::new(Exchange::default());
        let number = self.insert(Open::Exchange { exchange: exchange.clone(), ended: false });
        (Call(Line { request: request.clone(), number }), exchange)
    }

    fn insert(&mut self, open: Open) -> u32 {
        self.last += 1;
        self.open.insert(self.last, open);
        self.last
    }
}

/// The way to Node of one call.
#[derive(Clone)]
pub struct Line {
    request: Arc<Request>,
    number: u32,
}

impl Line {
    /// Tells Node something of the call, unless the call is over. `flags` beside CALL and `op`.
    pub fn tell(&self, op: u32, flags: u32, head: &[u8], body: &[Bytes]) {
        // Held until the event is in the outbox: the request's last event comes behind it.
        let state = self.request.calls.lock();
        match state.open.get(&self.number) {
            None | Some(Open::Exchange { ended: true, .. }) => {}
            Some(_) => self.push(op, flags, head, body),
        }
    }

    fn push(&self, op: u32, flags: u32, head: &[u8], body: &[Bytes]) {
        let slot = self.request.slot;
        let flags = flag::CALL | flags | op << 16;
        self.request.outbox.push(&Event { slot, flags, status: self.number, head, body, ..Event::default() });
    }
}

/// The guest's end of a call. When it is dropped before the call is over, Node hears that nobody waits for it.
pub struct Call(Line);

impl Call {
    pub fn line(&self) -> &Line {
        &self.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let line = &self.0;
        let mut state = line.request.calls.lock();
        match state.open.remove(&line.number) {
            None => {}
            Some(Open::Exchange { ended, .. }) => {
                state.held -= 1;
                if !ended {
                    line.push(op::CANCEL, 0, &[], &[]);
                }
            }
            // What was asked of the storage is done nevertheless.
            Some(Open::Operation(_)) => {}
        }
    }
}
