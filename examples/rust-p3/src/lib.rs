//! Sends back what it is sent in upper case, piece by piece as it comes. With WASI 0.3 a request is an async function,
//! and the bodies are streams of the component model.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use wasip3::http::types::{self, ErrorCode};
use wasip3::http_compat::{IncomingRequestBody, http_from_wasi_request, http_into_wasi_response};

wasip3::http::service::export!(Shout);

struct Shout;

impl wasip3::exports::http::handler::Guest for Shout {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        http_into_wasi_response(shout(http_from_wasi_request(request)?))
    }
}

fn shout(request: Request<IncomingRequestBody>) -> Response<impl Body<Data = Bytes, Error = ErrorCode>> {
    let loud = |data: Bytes| Bytes::from(data.to_ascii_uppercase());
    Response::new(request.into_body().map_frame(move |frame| frame.map_data(loud)))
}
