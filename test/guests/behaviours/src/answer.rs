//! Small ways to answer.

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, OutputStream, ResponseOutparam};

pub struct Answer {
    status: u16,
    fields: Fields,
    typed: bool,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Answer { status, fields: Fields::new(), typed: false }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.typed |= name == "content-type";
        self.fields.append(name, value.as_bytes()).expect("a header that is allowed");
        self
    }

    /// Sends the head; what is written to the body comes after.
    pub fn start(self, out: ResponseOutparam) -> OutgoingBody {
        let response = OutgoingResponse::new(self.fields);
        response.set_status_code(self.status).expect("a status that is allowed");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        body
    }

    pub fn text(self, out: ResponseOutparam, text: &str) {
        let typed = self.typed;
        let answer = if typed { self } else { self.header("content-type", "text/plain") };
        let body = answer.start(out);
        if !text.is_empty() {
            write(&body.write().expect("the stream is taken once"), text.as_bytes());
        }
        OutgoingBody::finish(body, None).expect("the body is finished once");
    }
}

/// Writes all of it, waiting for room; false when the reader has gone.
pub fn write(stream: &OutputStream, bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|piece| stream.blocking_write_and_flush(piece).is_ok())
}

pub fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(char),
            other => quoted.push_str(&format!("\\u{:04x}", other as u32)),
        }
    }
    quoted.push('"');
    quoted
}
