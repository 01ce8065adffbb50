//! The operations port: metrics and health over HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Serialize, Serializer};
use telemetry::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections served at once; the next one waits in the kernel's queue. A scraper and two probes need three.
const CONNECTIONS_MAX: usize = 64;

/// How long a request head may take, and an idle connection may stay.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, so that a full table of open files does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the samples of histograms are folded into buckets when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Whether traffic should come here, and why not. Ready while no reason speaks against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    reasons: Vec<Unready>,
}

/// Why traffic should not come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    /// Not every port is open yet.
    Starting,
    /// The process was told to stop.
    Draining,
    /// A shard has ended.
    ShardFailed,
    /// The publish API has ended.
    PublishFailed,
    /// Redis takes nothing, or not everything that is wanted is subscribed.
    RedisAway,
    /// The thread that talks to Redis has ended.
    ClusterFailed,
}

impl Unready {
    /// The reason as health and log lines have it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::ShardFailed => "shard_failed",
            Self::PublishFailed => "publish_failed",
            Self::RedisAway => "redis_away",
            Self::ClusterFailed => "cluster_failed",
        }
    }
}

impl Serialize for Unready {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Readiness {
    /// What a process is before its ports are open.
    pub(crate) fn starting() -> Self {
        Self { reasons: vec![Unready::Starting] }
    }

    /// Whether traffic should come here.
    pub(crate) fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Why not; empty when it should.
    pub(crate) fn reasons(&self) -> &[Unready] {
        &self.reasons
    }

    /// Adds a reason, once.
    pub(crate) fn set(&mut self, reason: Unready) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Takes a reason back.
    pub(crate) fn clear(&mut self, reason: Unready) {
        self.reasons.retain(|other| *other != reason);
    }
}

/// The body of `/health/ready`.
#[derive(Serialize)]
struct ReadyBody<'a> {
    ready: bool,
    reasons: &'a [Unready],
}

/// Serves `/metrics`, `/health/live` and `/health/ready` on `listener` until it is dropped.
///
/// `/health/live` is 200 while the process runs; `/health/ready` is 200 or 503, with
/// `{"ready":false,"reasons":["draining"]}`. Other paths are 404, methods other than GET and HEAD 405.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    ready: watch::Receiver<Readiness>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = upkeep.tick() => metrics.run_upkeep(),
            accepted = accept(&listener, &connections) => match accepted {
                Ok((stream, permit)) => {
                    let (metrics, ready) = (metrics.clone(), ready.clone());
                    tokio::spawn(async move {
                        serve_connection(stream, metrics, ready).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    telemetry::emit(&telemetry::AcceptFailed { port: "ops", error: error.to_string() });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn serve_connection(stream: TcpStream, metrics: PrometheusHandle, ready: watch::Receiver<Readiness>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &metrics, &ready);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the operations port broke");
    }
}

/// The answer to one request; hyper leaves the body out for HEAD.
fn answer(
    method: &Method,
    path: &str,
    metrics: &PrometheusHandle,
    ready: &watch::Receiver<Readiness>,
) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.render()),
        "/health/live" => respond(StatusCode::OK, TEXT, "live\n"),
        "/health/ready" => {
            let readiness = ready.borrow();
            let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = ReadyBody { ready: readiness.is_ready(), reasons: readiness.reasons() };
            respond(status, "application/json", serde_json::to_vec(&body).unwrap_or_default())
        }
        _ => respond(StatusCode::NOT_FOUND, TEXT, "/metrics, /health/live and /health/ready are here\n"),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A probe's answer is of this moment.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Sends the first line of a request to a server in the given state, and returns all it answers.
    async fn ask(readiness: Readiness, request_line: &str) -> String {
        let recorder = telemetry::recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            telemetry::PublishMetrics::new().answered(0, Duration::ZERO)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_keep, ready) = watch::channel(readiness);
        let server = tokio::spawn(serve(listener, recorder.handle(), ready));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request_line} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let answer = ask(Readiness::default(), "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        assert!(answer.contains("roomcast_publish_calls_total{code=\"OK\"} 1\n"), "{answer}");
    }

    #[tokio::test]
    async fn readiness_says_why_not() {
        let answer = ask(Readiness::default(), "GET /health/ready").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n{\"ready\":true,\"reasons\":[]}"), "{answer}");

        let mut readiness = Readiness::starting();
        readiness.set(Unready::Draining);
        readiness.set(Unready::Draining);
        let answer = ask(readiness, "GET /health/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.ends_with("{\"ready\":false,\"reasons\":[\"starting\",\"draining\"]}"), "{answer}");
    }

    #[tokio::test]
    async fn the_process_is_live_even_when_it_is_not_ready() {
        let answer = ask(Readiness::starting(), "GET /health/live").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("live\n"), "{answer}");
    }

    #[tokio::test]
    async fn head_has_no_body_and_other_requests_are_refused() {
        let answer = ask(Readiness::default(), "HEAD /health/live").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains("content-length: 5\r\n"), "{answer}");
        let answer = ask(Readiness::default(), "GET /metrics/").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        let answer = ask(Readiness::default(), "POST /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }

    #[test]
    fn a_reason_taken_back_makes_ready() {
        let mut readiness = Readiness::starting();
        readiness.clear(Unready::Starting);
        assert!(readiness.is_ready());
    }
}
