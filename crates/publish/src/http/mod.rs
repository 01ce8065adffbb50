//! The rpcs as HTTP with JSON, for curl, scripts and languages without gRPC.
//!
//! Each path is one rpc: its body is read as the rpc's request, handed to the same service that serves gRPC, with the
//! same rights, limits and metrics, and the answer is written back as JSON.

mod error;
pub(crate) mod json;
mod openapi;
mod scalar;

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use roomcast_proto::v1::publisher_server::Publisher;
use telemetry::PublishRefusal;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

pub(crate) use error::error;

use crate::config::size;
use crate::dispatch::Dispatch;
use crate::guard::Guarded;

/// How long a request's body may take. gRPC callers bound their calls themselves; scripts do not.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The path of each rpc. `PublishStream` has none: HTTP/1.1 clients cannot read while they write.
pub(crate) const PATHS: [(&str, &str); 10] = [
    ("Publish", "/v1/publish"),
    ("PublishBatch", "/v1/publish/batch"),
    ("Call", "/v1/call"),
    ("JoinRooms", "/v1/rooms/join"),
    ("LeaveRooms", "/v1/rooms/leave"),
    ("ListRooms", "/v1/rooms/list"),
    ("DisconnectSockets", "/v1/sockets/disconnect"),
    ("FetchSockets", "/v1/sockets/fetch"),
    ("CountSockets", "/v1/sockets/count"),
    ("ServerSideEmit", "/v1/server-side-emit"),
];

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(roomcast_proto::FILE_DESCRIPTOR_SET)
        .expect("the descriptors come from our own build")
});

/// Every rpc with a path, in the order of [`PATHS`].
pub(crate) fn methods() -> impl Iterator<Item = (MethodDescriptor, &'static str)> {
    let service = POOL.get_service_by_name("roomcast.v1.Publisher").expect("the proto declares it");
    let methods: Vec<_> = service.methods().collect();
    PATHS.into_iter().map(move |(rpc, path)| {
        let method = methods.iter().find(|method| method.name() == rpc);
        (method.expect("a path is that of an rpc").clone(), path)
    })
}

/// What is open to everyone, as reflection is.
pub(crate) fn open_routes() -> Router {
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi::document);
    let document = || async { ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()) };
    Router::new().route("/v1/openapi.json", get(document))
}

/// The paths of the rpcs, in front of `service`.
pub(crate) fn routes<D: Dispatch>(service: Guarded<D>) -> Router {
    let mut router = Router::new();
    for (method, path) in methods() {
        let rpc = Rpc { service: service.clone(), input: method.input(), output: method.output() };
        macro_rules! unary {
            ($method:ident) => {
                post(move |request| async move {
                    rpc.unary(request, async |service, request| service.$method(request).await).await
                })
            };
        }
        macro_rules! streamed {
            ($method:ident) => {
                post(move |request| async move {
                    rpc.streamed(request, async |service, request| service.$method(request).await).await
                })
            };
        }
        let handler = match method.name() {
            "Publish" => unary!(publish),
            "PublishBatch" => unary!(publish_batch),
            "Call" => streamed!(call),
            "JoinRooms" => unary!(join_rooms),
            "LeaveRooms" => unary!(leave_rooms),
            "ListRooms" => unary!(list_rooms),
            "DisconnectSockets" => unary!(disconnect_sockets),
            "FetchSockets" => streamed!(fetch_sockets),
            "CountSockets" => unary!(count_sockets),
            "ServerSideEmit" => unary!(server_side_emit),
            _ => continue,
        };
        router = router.route(path, handler.fallback(wrong_method));
    }
    router
}

/// The answer to a path that nothing has.
pub(crate) async fn not_found(request: Request) -> Response {
    if is_grpc(request.headers()) {
        let status = Status::unimplemented("this server has no such rpc");
        return status.into_http::<tonic::body::Body>().map(Body::new);
    }
    error(&Status::not_found("this server has no such path; GET /v1/openapi.json lists them"))
}

async fn wrong_method() -> Response {
    let mut response = error(&Status::unimplemented("allowed: POST"));
    *response.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// Whether the caller speaks gRPC, and not HTTP with JSON.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// One rpc and the types of its request and answer.
#[derive(Clone)]
struct Rpc<D> {
    service: Guarded<D>,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

impl<D: Dispatch> Rpc<D> {
    async fn unary<Q: Message + Default, A: Message>(
        self,
        request: Request,
        call: impl AsyncFnOnce(&Guarded<D>, tonic::Request<Q>) -> Result<tonic::Response<A>, Status>,
    ) -> Response {
        let answer = async {
            let request = self.read(request).await?;
            let answer = call(&self.service, request).await?;
            json::encode(self.output, answer.get_ref())
        };
        match answer.await {
            Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
            Err(status) => error(&status),
        }
    }

    /// Answers one JSON object per line, or server-sent events for those who accept them; a fault on the way is
    /// the last object, `{"error":{…}}`.
    async fn streamed<Q, A, S>(
        self,
        request: Request,
        call: impl AsyncFnOnce(&Guarded<D>, tonic::Request<Q>) -> Result<tonic::Response<S>, Status>,
    ) -> Response
    where
        Q: Message + Default,
        A: Message,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
    {
        let form = Form::accepted(request.headers());
        let answers = async { call(&self.service, self.read(request).await?).await };
        let answers = match answers.await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return error(&status),
        };
        let output = self.output;
        let part = move |answer: Result<A, Status>| {
            let text = answer.and_then(|answer| json::encode(output.clone(), &answer));
            let text = text.unwrap_or_else(|status| error::in_stream(&status));
            Ok::<_, Infallible>(Bytes::from(form.part(&text)))
        };
        let headers = [(header::CONTENT_TYPE, form.content_type()), (header::CACHE_CONTROL, "no-store")];
        (headers, Body::from_stream(answers.map(part))).into_response()
    }

    /// Reads a request, and counts it if it cannot be.
    async fn read<Q: Message + Default>(&self, request: Request) -> Result<tonic::Request<Q>, Status> {
        let started = Instant::now();
        let publishing = &self.service.0;
        let read = read(request, self.input.clone(), size(publishing.config.request_bytes_max)).await;
        read.inspect_err(|status| publishing.metrics.answered(status.code().into(), started.elapsed()))
    }
}

async fn read<Q: Message + Default>(
    request: Request,
    input: MessageDescriptor,
    bytes_max: usize,
) -> Result<tonic::Request<Q>, Status> {
    let (parts, body) = request.into_parts();
    not_from_a_browser(&parts.headers)?;
    let body = timeout(BODY_PATIENCE, Limited::new(body, bytes_max).collect()).await;
    let body =
        body.map_err(|_| Status::deadline_exceeded(format!("no whole body within {BODY_PATIENCE:?}")))?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Status::new(
            Code::OutOfRange,
            format!("the body is over {bytes_max} bytes, which is the most allowed"),
        ),
        false => Status::cancelled("the body has ended early"),
    })?;
    let message = json::decode(input, &body.to_bytes())?;
    Ok(tonic::Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, message))
}

/// Refuses what a page could make a visitor's browser send to an address that only he reaches: browsers state where
/// a POST comes from, and ask before they send JSON elsewhere.
fn not_from_a_browser(headers: &HeaderMap) -> Result<(), Status> {
    if headers.contains_key(header::ORIGIN) {
        telemetry::publish_refused("", PublishRefusal::Browser);
        return Err(Status::permission_denied(
            "this API is for back ends: a request with the header Origin is refused",
        ));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    match essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        true => Ok(()),
        false => Err(Status::invalid_argument("allowed: the header content-type: application/json")),
    }
}

/// How the parts of a stream are told from each other.
#[derive(Clone, Copy)]
enum Form {
    Lines,
    Events,
}

impl Form {
    fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let events = accepted.flat_map(|value| value.split(',')).any(|range| {
            range
                .split(';')
                .next()
                .is_some_and(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
        });
        if events { Self::Events } else { Self::Lines }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// JSON as it is written here holds no line break.
    fn part(self, json: &str) -> String {
        match self {
            Self::Lines => format!("{json}\n"),
            Self::Events => format!("data: {json}\n\n"),
        }
    }
}
