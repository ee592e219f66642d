//! Greets, and sends back what it is sent, piece by piece as it comes.

use wstd::http::{Body, Error, Method, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    if request.method() == Method::POST {
        return Ok(Response::new(request.into_body()));
    }
    let greeting = format!("Hello from Rust! You asked for {}\n", request.uri().path());
    Ok(Response::builder().header("content-type", "text/plain; charset=utf-8").body(greeting.into())?)
}
