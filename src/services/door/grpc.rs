//! What every gRPC port has beside its services: reflection, health, and errors in gRPC's own words.

use std::convert::Infallible;

use axum::Router;
use axum::response::IntoResponse;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_health::server::HealthService;
use tower::Service;

use crate::control::Error;
use crate::services::api::DESCRIPTORS;

/// The routes of one gRPC service, to be merged with others.
pub fn grpc<S>(service: S) -> Router
where
    S: Service<axum::http::Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    // Without its own fallback, which would answer 200 to every path that nobody serves.
    Routes::new(service).into_axum_router().reset_fallback()
}

/// Reflection of `services`, and their health, which is that of this process.
pub(super) async fn published(services: &[&str]) -> Router {
    let reporter = HealthReporter::new();
    for service in services {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    let health = HealthService::from_health_reporter(reporter);
    let mut router = grpc(tonic_health::pb::health_server::HealthServer::new(health));
    // The descriptors are of our own build; if they did not decode, the tests would not pass.
    if let Ok(reflection) = reflected(services).build_v1() {
        router = router.merge(grpc(reflection));
    }
    // What clients of before 2023 ask for, and most of today's still do.
    if let Ok(reflection) = reflected(services).build_v1alpha() {
        router = router.merge(grpc(reflection));
    }
    router
}

fn reflected(services: &[&str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    services.iter().chain(&["grpc.health.v1.Health"]).fold(builder, |builder, name| builder.with_service_name(*name))
}

/// A refusal in gRPC's words; code and hint travel in the metadata `pilot-code` and `pilot-hint`.
pub fn status(error: &Error) -> Status {
    let code = match error.http_status() {
        400 => Code::InvalidArgument,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::FailedPrecondition,
        413 | 429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    let mut status = Status::new(code, &error.message);
    for (name, value) in [("pilot-code", &error.code), ("pilot-hint", &error.hint)] {
        if let Ok(value) = value.parse() {
            status.metadata_mut().insert(name, value);
        }
    }
    status
}
