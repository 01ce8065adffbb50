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
use crate::auth::{Caller, InFlight};
use crate::dispatch::Dispatch;
use crate::front::Certificates;
use crate::guard::Guarded;
use crate::http::is_grpc;
use crate::publishing::{Checked, CheckedBatch, Published, Publishing};
use crate::wire;

// Constants: as texts they would be parsed with every call, 150 instructions each.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

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

/// What one call publishes, checked, with what its rpc does with it.
pub(super) trait Publishable: Sized + Send {
    /// What became of it.
    type Published;

    /// Reads and checks a request, and takes the call's place among those that its caller may have open.
    fn admit<D: Dispatch>(
        service: &Guarded<D>,
        caller: Option<&Caller>,
        request: &[u8],
    ) -> Result<(Self, Option<InFlight>), Status>;

    fn publish<D: Dispatch>(
        self,
        publishing: &Publishing<D>,
    ) -> impl Future<Output = Result<Self::Published, Status>> + Send;

    /// The answer, as it is sent.
    fn write(published: Self::Published) -> BytesMut;
}

/// `Publish`.
impl Publishable for Checked {
    type Published = Published;

    fn admit<D: Dispatch>(
        service: &Guarded<D>,
        caller: Option<&Caller>,
        request: &[u8],
    ) -> Result<(Self, Option<InFlight>), Status> {
        wire::publish_request(request, |request| service.admit_publish(caller, request)).flatten()
    }

    fn publish<D: Dispatch>(
        self,
        publishing: &Publishing<D>,
    ) -> impl Future<Output = Result<Published, Status>> + Send {
        publishing.publish(self)
    }

    fn write(Published { id, reach }: Published) -> BytesMut {
        wire::publish_response(id, reach)
    }
}

/// `PublishBatch`.
impl Publishable for CheckedBatch {
    type Published = Vec<Published>;

    fn admit<D: Dispatch>(
        service: &Guarded<D>,
        caller: Option<&Caller>,
        request: &[u8],
    ) -> Result<(Self, Option<InFlight>), Status> {
        wire::publish_batch_request(request, |request| service.admit_batch(caller, request)).flatten()
    }

    fn publish<D: Dispatch>(
        self,
        publishing: &Publishing<D>,
    ) -> impl Future<Output = Result<Vec<Published>, Status>> + Send {
        publishing.publish_batch(self)
    }

    fn write(published: Vec<Published>) -> BytesMut {
        wire::publish_batch_response(published)
    }
}

/// Serves a call that publishes and is answered once, from its request to its answer.
pub(super) async fn publish<P: Publishable, D: Dispatch>(
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
        let service = &services.publisher;
        let admitted = frames.only(|message| P::admit(service, caller.as_ref(), message)).await;
        let published = match admitted.flatten() {
            Ok((checked, _in_flight)) => checked.publish(&service.0).await,
            Err(status) => Err(status),
        };
        service.0.answered(&published, started);
        published.map(P::write)
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
    if let Some(encoding) = headers.get(GRPC_ENCODING).filter(|encoding| *encoding != "identity") {
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
    trailers.insert(GRPC_STATUS, number);
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
