//! The listener with its services, and how it stops.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use roomcast_proto::v1::publisher_server::PublisherServer;
use telemetry::PublishMetrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::auth::{AuthConfig, Authenticator, KeysFault, ServerTlsConfig};
use crate::config::{PublishConfig, size};
use crate::connection::Services;
use crate::dispatch::Dispatch;
use crate::front::{Door, Front};
use crate::guard::Guarded;
use crate::http;
use crate::idempotency::Remembered;
use crate::listener;
use crate::publishing::Publishing;
use crate::tls::{Tls, TlsFault};

/// The publish API could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors compiled into this binary are faulty.
    #[error("reflection cannot read the descriptors of this build")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Who may connect and call.
#[derive(Clone, Debug, Default)]
pub struct Access {
    authenticator: Option<Authenticator>,
    tls: Option<Tls>,
}

/// The files that say who may connect and call cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The file of identities.
    #[error("auth.keys_file: {0}")]
    Keys(#[from] KeysFault),
    /// Certificate, key or authorities.
    #[error(transparent)]
    Tls(#[from] TlsFault),
}

impl Access {
    /// Reads the files. Without authentication and TLS in the configuration, everyone may do everything.
    ///
    /// # Errors
    /// [`AccessError`], with the file and its fault.
    pub fn read(auth: &AuthConfig, tls: Option<&ServerTlsConfig>) -> Result<Self, AccessError> {
        Ok(Self {
            authenticator: auth.is_configured().then(|| Authenticator::read(auth)).transpose()?,
            tls: tls.map(Tls::read).transpose()?,
        })
    }

    /// Reads the files again when they change, for ever.
    async fn follow_changes(&self) -> Infallible {
        if let Some(tls) = &self.tls {
            tokio::join!(tls.follow_changes(), self.follow_keys());
        } else {
            self.follow_keys().await;
        }
        std::future::pending().await
    }

    async fn follow_keys(&self) {
        if let Some(authenticator) = &self.authenticator {
            authenticator.follow_changes().await;
        }
    }
}

/// [`serve_with`] for everyone who reaches the port, in the clear.
///
/// # Errors
/// As there.
pub async fn serve<D: Dispatch>(
    listener: TcpListener,
    dispatch: D,
    config: PublishConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_with(listener, dispatch, config, Access::default(), shutdown).await
}

/// Serves `roomcast.v1.Publisher` over gRPC and as HTTP with JSON (`/v1/publish` and so on), `grpc.health.v1` and
/// reflection (`v1` and `v1alpha`) on `listener`. The last two and the OpenAPI document are open to everyone.
///
/// When `shutdown` is ready, health says so, no connection is accepted any more, streams are not read on, and
/// calls that have begun are finished. It returns when the last one is; a caller that must stop in time drops
/// the future and its runtime. `config` is to be free of [`PublishConfig::faults`].
///
/// # Errors
/// [`ServeError`] if it cannot go on; faults of callers and connections are never among them.
pub async fn serve_with<D: Dispatch>(
    listener: TcpListener,
    dispatch: D,
    config: PublishConfig,
    access: Access,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (stop, stopping) = watch::channel(false);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<PublisherServer<Guarded<D>>>().await;
    let shutdown = async {
        shutdown.await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
        reporter.set_not_serving::<PublisherServer<Guarded<D>>>().await;
        stop.send_replace(true);
    };
    let metrics = Arc::new(PublishMetrics::new());
    let remembered = Remembered::new(
        Duration::from_millis(u32::from(config.idempotency_window_ms).into()),
        size(config.idempotency_keys_max),
    );
    let publishing = Publishing { dispatch, config: Arc::new(config), metrics, remembered, stopping };
    let open = rpcs(Router::new(), health);
    let open = rpcs(open, reflection().build_v1()?);
    let open = rpcs(open, reflection().build_v1alpha()?).merge(http::open_routes());
    let metrics = publishing.metrics.clone();
    let door = access.authenticator.clone().map(|authenticator| Door { authenticator, metrics });
    let router = open.merge(guarded(publishing.clone(), door.clone())).fallback(http::not_found);
    let publisher = Guarded(publishing);
    let services = Services {
        door: door.clone(),
        calls_max: publisher.0.config.calls_per_connection_max.get(),
        request_bytes_max: size(publisher.0.config.request_bytes_max),
        stopping: publisher.0.stopping.clone(),
        front: Front { rpcs: rpcs_of(publisher.clone()), door, routes: Routes::from(router).prepare() },
        publisher,
    };
    tokio::select! {
        () = listener::serve(listener, access.tls.as_ref(), Arc::new(services), shutdown) => Ok(()),
        never = access.follow_changes() => match never {},
    }
}

/// What callers need rights for over HTTP with JSON, behind the door.
fn guarded<D: Dispatch>(publishing: Publishing<D>, door: Option<Door>) -> Router {
    let router = http::routes(Guarded(publishing));
    match door {
        Some(door) => router.layer(from_fn_with_state(door, authenticate)),
        None => router,
    }
}

/// The same over gRPC.
fn rpcs_of<D: Dispatch>(service: Guarded<D>) -> PublisherServer<Guarded<D>> {
    let request_bytes_max = size(service.0.config.request_bytes_max);
    PublisherServer::new(service).max_decoding_message_size(request_bytes_max)
}

/// Leaves the caller in the request's extensions, or refuses the request before it is read.
async fn authenticate(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    match door.admit(&mut request).await {
        Ok(()) => next.run(request).await,
        Err(status) => http::error(&status),
    }
}

/// `router` and the rpcs of one more service.
fn rpcs<S>(router: Router, service: S) -> Router
where
    S: Service<Request, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*rpc}}", S::NAME), service)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(roomcast_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
