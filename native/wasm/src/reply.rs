//! The answer of one request on its way from the guest to Node. What is written during one turn of the guest is kept
//! and goes out as one event at the turn's end, so that a small complete answer is a single event.

use std::mem;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use crate::failure::Failure;
use crate::head;
use crate::outbox::{Event, Outbox, flag};

/// Bytes of the body that may be on their way to the client; more waits in the guest.
const WINDOW: usize = 256 << 10;

#[derive(Default)]
pub struct Reply {
    // What goes out with the next event.
    flags: u32,
    status: u32,
    head: Vec<u8>,
    body: Vec<Bytes>,
    trailers: Vec<u8>,
    // What is known of the answer as a whole.
    /// Content-Length, where the guest set one and a body follows.
    declared: Option<u64>,
    written: u64,
    /// Bytes handed over and not yet taken by the client.
    underway: usize,
    /// The status or the request's method forbids a body: what the guest writes is dropped.
    bodiless: bool,
    over: Option<Over>,
    done: bool,
}

/// How an answer came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Complete,
    Failed,
}

impl Reply {
    /// Takes the head of the answer; `head_only` when the request's method is HEAD.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap, head_only: bool) -> Result<(), Failure> {
        if status.as_u16() < 200 {
            return Err(Failure::BadAnswer(format!("{} is not a final status", status.as_u16())));
        }
        self.bodiless = head_only || matches!(status.as_u16(), 204 | 205 | 304);
        if !self.bodiless
            && let Some(length) = headers.get(header::CONTENT_LENGTH)
        {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            let wrong = || Failure::BadAnswer("its Content-Length is not a number".into());
            self.declared = Some(length.ok_or_else(wrong)?);
        }
        self.flags |= flag::HEAD;
        self.status = status.as_u16().into();
        self.head = head::pack(headers);
        Ok(())
    }

    /// Whether the guest may write more now.
    pub fn has_room(&self) -> bool {
        self.underway < WINDOW
    }

    pub fn data(&mut self, piece: Bytes) -> Result<(), Failure> {
        if self.bodiless || piece.is_empty() {
            return Ok(());
        }
        self.written += piece.len() as u64;
        self.check_length(|written, declared| written <= declared)?;
        self.underway += piece.len();
        self.body.push(piece);
        Ok(())
    }

    pub fn trailers(&mut self, trailers: &HeaderMap) {
        self.trailers = head::pack(trailers);
    }

    /// The guest has finished its body.
    pub fn end(&mut self) -> Result<(), Failure> {
        self.check_length(|written, declared| written == declared)?;
        if self.over.is_none() {
            self.over = Some(Over::Complete);
            self.flags |= flag::END;
        }
        Ok(())
    }

    /// The guest left its body without finishing it: no harm where a body is not sent, else a failure.
    pub fn cut(&mut self, why: Failure) -> Result<(), Failure> {
        if self.bodiless { self.end() } else { Err(self.broken(why)) }
    }

    fn broken(&self, otherwise: Failure) -> Failure {
        self.wrong_length(0).unwrap_or(otherwise)
    }

    /// What is wrong with its Content-Length when `more` bytes follow and the body ends then.
    fn wrong_length(&self, more: u64) -> Option<Failure> {
        let written = self.written + more;
        let declared = self.declared.filter(|&declared| declared != written)?;
        Some(Failure::BadAnswer(format!("its Content-Length is {declared}, its body has {written} bytes")))
    }

    /// The same, only if the body is too long when `more` bytes follow.
    pub fn overrun(&self, more: u64) -> Option<Failure> {
        self.declared.filter(|&declared| declared < self.written + more).and_then(|_| self.wrong_length(more))
    }

    fn check_length(&self, right: impl Fn(u64, u64) -> bool) -> Result<(), Failure> {
        match self.declared {
            Some(declared) if !right(self.written, declared) => self.wrong_length(0).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// The client took so many bytes more.
    pub fn taken(&mut self, bytes: usize) {
        self.underway = self.underway.saturating_sub(bytes);
    }

    /// The request failed. What was written in this turn is dropped: the client shall not take it for an answer.
    /// False when the answer was already over.
    pub fn fail(&mut self, failure: &Failure) -> bool {
        if self.over.is_some() {
            return false;
        }
        self.over = Some(Over::Failed);
        self.flags = flag::FAIL;
        self.status = failure.code();
        self.head = failure.detail().into_bytes();
        self.body.clear();
        self.trailers.clear();
        true
    }

    pub fn over(&self) -> Option<Over> {
        self.over
    }

    /// Nothing of the request runs any more. False when that was said before.
    pub fn done(&mut self) -> bool {
        self.flags |= flag::DONE;
        !mem::replace(&mut self.done, true)
    }

    /// Sends what there is to send.
    pub fn flush(&mut self, slot: u32, outbox: &Outbox) {
        if self.flags == 0 && self.body.is_empty() {
            return;
        }
        let event = Event {
            slot,
            flags: self.flags,
            status: self.status,
            head: &self.head,
            body: &self.body,
            trailers: &self.trailers,
        };
        outbox.push(&event);
        self.flags = 0;
        self.head.clear();
        self.body.clear();
        self.trailers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(length: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, length.parse().unwrap())])
    }

    #[test]
    fn a_body_must_be_as_long_as_it_says() {
        let mut short = Reply::default();
        short.head(StatusCode::OK, &headers("4"), false).unwrap();
        short.data(Bytes::from_static(b"ab")).unwrap();
        assert!(matches!(short.end(), Err(Failure::BadAnswer(_))));
        let mut long = Reply::default();
        long.head(StatusCode::OK, &headers("1"), false).unwrap();
        assert!(matches!(long.data(Bytes::from_static(b"ab")), Err(Failure::BadAnswer(_))));
    }

    #[test]
    fn what_comes_beyond_its_length_is_seen_before_it_is_sent() {
        let mut reply = Reply::default();
        reply.head(StatusCode::OK, &headers("3"), false).unwrap();
        assert_eq!(reply.overrun(3), None);
        let failure = Failure::BadAnswer("its Content-Length is 3, its body has 4 bytes".into());
        assert_eq!(reply.overrun(4), Some(failure));
    }

    #[test]
    fn the_answer_to_a_head_request_has_no_body() {
        let mut reply = Reply::default();
        reply.head(StatusCode::OK, &headers("4"), true).unwrap();
        reply.data(Bytes::from_static(b"four")).unwrap();
        assert!(reply.body.is_empty());
        reply.end().unwrap();
    }

    #[test]
    fn an_informational_status_is_no_answer() {
        let mut reply = Reply::default();
        assert!(reply.head(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new(), false).is_err());
    }

    #[test]
    fn a_failure_comes_once_and_not_after_the_end() {
        let mut reply = Reply::default();
        assert!(reply.fail(&Failure::Deadline));
        assert!(!reply.fail(&Failure::NoAnswer));
        let mut complete = Reply::default();
        complete.head(StatusCode::OK, &HeaderMap::new(), false).unwrap();
        complete.end().unwrap();
        assert!(!complete.fail(&Failure::Deadline));
    }
}
