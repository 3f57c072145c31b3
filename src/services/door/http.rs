//! What holds for every HTTP request: no web pages, no bodies that a form could send, no body that never ends.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::{BodyExt, Limited};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use super::Limits;
use crate::control::{Error, answer};
use crate::services::directory::Caller;

/// Tells the caller who it is taken for.
const CALLER: HeaderName = HeaderName::from_static("pilot-caller");
/// What a body that changes something may be; none of them can be sent by a form of a web page.
const BODIES: [&str; 4] = ["application/json", "application/x-ndjson", "application/octet-stream", "application/grpc"];

/// What `GET /openapi.json` answers.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// `router` behind the checks, with an answer to everything that it does not serve.
pub(super) fn guarded(router: Router, limits: Limits) -> Router {
    router
        .route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) }))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(from_fn(move |request, next| check(request, next, limits)))
}

async fn nothing_here(request: Request) -> Response {
    if kind(request.headers()).starts_with("application/grpc") {
        return tonic::Status::unimplemented("there is no such method here").into_http::<Body>();
    }
    let path = request.uri().path();
    answer(Err(Error::new("not_found", format!("there is nothing at {path}")).hint("docs/services.md lists the paths")))
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path());
    answer(Err(Error::new("invalid_request", format!("{path} does not take {method}"))
        .hint("docs/services.md lists the paths")))
}

async fn check(request: Request, next: Next, limits: Limits) -> Response {
    let caller = request.extensions().get::<Caller>().map(|caller| caller.member().id.to_string());
    let mut response = match admitted(request, limits).await {
        Ok(request) => next.run(request).await,
        Err(error) => answer(Err(error)),
    };
    if let Some(caller) = caller.and_then(|id| HeaderValue::from_str(&id).ok()) {
        response.headers_mut().insert(CALLER, caller);
    }
    response
}

async fn admitted(request: Request, limits: Limits) -> Result<Request, Error> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || !is_ours(headers) {
        return Err(Error::new("permission_denied", "web pages may not use this service")
            .hint("call it from a program, by its overlay address, its hostname or NAME.pilot"));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let kind = kind(headers).to_owned();
    if changes && !BODIES.iter().any(|body| kind.starts_with(body)) {
        return Err(Error::new("invalid_request", format!("a body of {kind:?} is not taken"))
            .hint("send JSON with content-type: application/json"));
    }
    if kind.starts_with("application/json") { collected(request, limits).await } else { Ok(request) }
}

/// A page of the web that has its own name point to our address is stopped by that name: ours have no dots.
fn is_ours(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".pilot")
}

fn kind(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The request with its whole body: one that is too long, or that does not come, is refused here.
async fn collected(request: Request, limits: Limits) -> Result<Request, Error> {
    let (parts, body) = request.into_parts();
    let whole = timeout(limits.patience, Limited::new(body, limits.longest).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let longest = limits.longest;
            Err(Error::new("too_large", format!("the body is longer than {longest} bytes"))
                .hint("send large data as a file: `pilotctl send-file`"))
        }
        Ok(Err(error)) => Err(Error::new("invalid_request", format!("the body broke off: {error}"))),
        Err(_) => Err(Error::new("timeout", format!("the body did not come within {:?}", limits.patience))),
    }
}

/// The answer that turns a connection over to `protocol`, and the connection once it is sent.
///
/// # Errors
/// `invalid_request` where the caller has not asked for just that.
pub fn upgrade(parts: &mut Parts, protocol: &'static str) -> Result<(Response, OnUpgrade), Error> {
    let asked = parts.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let on_upgrade = asked.eq_ignore_ascii_case(protocol).then(|| parts.extensions.remove::<OnUpgrade>()).flatten();
    let Some(on_upgrade) = on_upgrade else {
        return Err(Error::new("invalid_request", format!("{} wants an upgrade", parts.uri.path()))
            .hint(format!("send `Connection: Upgrade` and `Upgrade: {protocol}` by HTTP/1.1")));
    };
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, protocol)];
    Ok(((StatusCode::SWITCHING_PROTOCOLS, headers).into_response(), on_upgrade))
}
