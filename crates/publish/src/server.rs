//! The listener with its services, and how it stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use roomcast_proto::v1::publisher_server::PublisherServer;
use telemetry::PublishMetrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

use crate::config::{PublishConfig, size};
use crate::dispatch::Dispatch;
use crate::publishing::Publishing;

/// How long a connection may be silent before it is asked for a sign of life, and how long that may take.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The publish API could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors compiled into this binary are faulty.
    #[error("reflection cannot read the descriptors of this build")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The listener failed.
    #[error("the gRPC listener failed")]
    Listener(#[from] tonic::transport::Error),
}

/// Serves `roomcast.v1.Publisher`, `grpc.health.v1` and reflection (`v1` and `v1alpha`) on `listener`.
///
/// When `shutdown` is ready, health says so, no connection is accepted any more, streams are not read on, and
/// calls that have begun are finished. It returns when the last one is; a caller that must stop in time drops
/// the future and its runtime. `config` is to be free of [`PublishConfig::faults`].
///
/// # Errors
/// [`ServeError`] if it cannot go on; faults of callers and connections are never among them.
pub async fn serve<D: Dispatch>(
    listener: TcpListener,
    dispatch: D,
    config: PublishConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let request_bytes_max = size(config.request_bytes_max);
    let calls_max = config.calls_per_connection_max.get();
    let (stop, stopping) = watch::channel(false);
    let metrics = Arc::new(PublishMetrics::new());
    let publisher =
        PublisherServer::new(Publishing { dispatch, config: Arc::new(config), metrics, stopping })
            .max_decoding_message_size(request_bytes_max);

    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<PublisherServer<Publishing<D>>>().await;
    let shutdown = async {
        shutdown.await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
        reporter.set_not_serving::<PublisherServer<Publishing<D>>>().await;
        stop.send_replace(true);
    };

    // Answers are small and callers wait for them: no delay to fill segments.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .max_concurrent_streams(calls_max)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(publisher)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(roomcast_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
