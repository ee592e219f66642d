//! Counts. `POST /NAME` adds one, `GET /NAME` tells the count, and `DELETE /NAME` forgets it for who knows the secret.

use wasi::config::store as config;
use wasi::keyvalue::{atomics, store};
use wasi::logging::logging::{Level, log};
use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

wit_bindgen::generate!({ path: "../wit", world: "services", generate_all });

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let name = request.uri().path().trim_start_matches('/');
    let counts = store::open("counts")?;
    let count = match *request.method() {
        // One step for the node: of requests at the same time none is lost.
        Method::POST => atomics::increment(&counts, name, 1)?.to_string(),
        Method::DELETE if !allowed(&request)? => {
            log(Level::Warn, "counter", &format!("somebody without the secret tried to delete {name}"));
            return answer(StatusCode::FORBIDDEN, "that needs the secret\n".into());
        }
        Method::DELETE => {
            counts.delete(name)?;
            log(Level::Info, "counter", &format!("{name} was deleted"));
            "0".into()
        }
        // What increments make is kept as decimal digits.
        _ => counts.get(name)?.map_or("0".into(), |digits| String::from_utf8_lossy(&digits).into_owned()),
    };
    answer(StatusCode::OK, format!("{count}\n"))
}

/// Whether the request brings the secret ADMIN_TOKEN.
fn allowed(request: &Request<Body>) -> Result<bool, Error> {
    let Some(token) = config::get("ADMIN_TOKEN")? else { return Ok(false) };
    let sent = request.headers().get("authorization").map(|value| value.as_bytes());
    Ok(sent == Some(format!("Bearer {token}").as_bytes()))
}

fn answer(status: StatusCode, text: String) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).body(text.into())?)
}
