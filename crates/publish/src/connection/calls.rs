//! `Publish` and `PublishBatch` over HTTP/2, from the request's bytes to the answer's.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tonic::{Code, Status};

use super::Services;
use super::deadline::{timeout_of, within};
use crate::auth::Caller;
use crate::dispatch::Dispatch;
use crate::front::Certificates;
use crate::http::is_grpc;
use crate::publishing::Published;
use crate::wire;

/// The rpcs that publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    Publish,
    PublishBatch,
    PublishStream,
}

impl Rpc {
    /// `None` for everything else.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/roomcast.v1.Publisher/")? {
            "Publish" => Some(Self::Publish),
            "PublishBatch" => Some(Self::PublishBatch),
            "PublishStream" => Some(Self::PublishStream),
            _ => None,
        }
    }
}

/// `Publish`, from its request to its answer.
pub(super) async fn publish<D: Dispatch>(
    services: Arc<Services<D>>,
    certificates: Certificates,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let timeout = timeout_of(request.headers());
    // Where it stays: a future is copied with all that it may ever hold, and as large as all copies on its way.
    let answer = pin!(async {
        let (caller, frames) = open(&services, &certificates, request).await?;
        let started = Instant::now();
        let admitted = frames.only(|message| {
            wire::publish_request(message, |request| {
                services.publisher.admit_publish(caller.as_ref(), &request)
            })
        });
        let published = match admitted.await.flatten().flatten() {
            Ok((checked, _in_flight)) => services.publisher.0.publish(checked).await,
            Err(status) => Err(status),
        };
        services.publisher.0.answered(&published, started);
        published.map(|Published { id, reach }| wire::publish_response(id, reach))
    });
    respond_with(answer, timeout, respond).await;
}

/// `PublishBatch`, from its request to its answer.
pub(super) async fn publish_batch<D: Dispatch>(
    services: Arc<Services<D>>,
    certificates: Certificates,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let timeout = timeout_of(request.headers());
    let answer = pin!(async {
        let (caller, frames) = open(&services, &certificates, request).await?;
        let started = Instant::now();
        let admitted = frames.only(|message| {
            wire::publish_batch_request(message, |request| {
                services.publisher.admit_batch(caller.as_ref(), &request)
            })
        });
        let response = match admitted.await.flatten().flatten() {
            Ok((checked, _in_flight)) => services.publisher.0.publish_batch(checked).await,
            Err(status) => Err(status),
        };
        services.publisher.0.answered(&response, started);
        response.map(|response| wire::publish_batch_response(&response))
    });
    respond_with(answer, timeout, respond).await;
}

/// Who calls, and the messages to come.
///
/// # Errors
/// The caller is not let in, or its messages cannot be read here.
pub(crate) async fn open<D: Dispatch>(
    services: &Services<D>,
    certificates: &Certificates,
    request: Request<RecvStream>,
) -> Result<(Option<Caller>, wire::Frames), Status> {
    let headers = request.headers();
    let caller = match &services.door {
        Some(door) => Some(door.caller(headers, certificates).await?),
        None => None,
    };
    if !is_grpc(headers) {
        // A page cannot send this type to another origin without asking first.
        return Err(Status::invalid_argument("allowed: the header content-type: application/grpc"));
    }
    if let Some(encoding) = headers.get("grpc-encoding").filter(|encoding| *encoding != "identity") {
        let name = encoding.to_str().unwrap_or("bytes that are no text");
        let text = format!("Content is compressed with `{name}` which isn't supported");
        let mut status = Status::unimplemented(text);
        let accepted = tonic::metadata::MetadataValue::from_static("identity");
        status.metadata_mut().insert("grpc-accept-encoding", accepted);
        return Err(status);
    }
    Ok((caller, wire::Frames::new(request.into_body(), services.request_bytes_max)))
}

/// Answers a call, unless its caller gives it up before.
async fn respond_with(
    mut answer: Pin<&mut impl Future<Output = Result<BytesMut, Status>>>,
    timeout: Option<Duration>,
    mut respond: SendResponse<Bytes>,
) {
    // Most are answered at once, and need no timer and no look at whether they are given up.
    let answer = match futures_util::poll!(answer.as_mut()) {
        Poll::Ready(answer) => answer,
        Poll::Pending => {
            let timed = pin!(within(timeout, answer));
            match unless_reset(timed, &mut respond).await {
                Some(answer) => answer.and_then(|answer| answer),
                None => return,
            }
        }
    };
    // Fails only if the caller is gone.
    match answer {
        Ok(message) => drop(send(respond, message.freeze())),
        Err(status) => drop(respond.send_response(refusal(&status), true)),
    }
}

/// What `answer` gives; `None` if the caller gives its call up before.
async fn unless_reset<F: Future>(
    mut answer: Pin<&mut F>,
    respond: &mut SendResponse<Bytes>,
) -> Option<F::Output> {
    poll_fn(|context| match answer.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => respond.poll_reset(context).map(|_| None),
    })
    .await
}

fn send(mut respond: SendResponse<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(head(), false)?;
    stream.send_data(message, false)?;
    stream.send_trailers(trailers(Code::Ok))
}

/// The beginning of an answer that is not refused.
pub(crate) fn head() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The end of an answer that says nothing but `code`.
pub(crate) fn trailers(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    let number = match code {
        Code::Ok => HeaderValue::from_static("0"),
        code => i32::from(code).into(),
    };
    trailers.insert(HeaderName::from_static("grpc-status"), number);
    trailers
}

/// An answer that is nothing but a refusal.
pub(crate) fn refusal(status: &Status) -> Response<()> {
    let mut response = head();
    if status.add_header(response.headers_mut()).is_err() {
        // Its metadata cannot be sent: then without.
        response.headers_mut().extend(trailers(status.code()));
    }
    *response.status_mut() = StatusCode::OK;
    response
}
