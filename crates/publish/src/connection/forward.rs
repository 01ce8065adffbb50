//! Requests that are not for the rpcs that publish, on their way to the services of tonic and axum, and back.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use super::deadline::{timeout_of, within};
use crate::http::is_grpc;
use crate::stream::send_all;

/// Has `service` answer a request.
pub(super) async fn forward<S>(
    mut service: S,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    let timeout = timeout_of(request.headers()).filter(|_| is_grpc(request.headers()));
    let answer = service.call(request.map(|body| Body::new(Incoming(body))));
    let mut answer = std::pin::pin!(within(timeout, answer));
    let answer = poll_fn(|context| match answer.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => respond.poll_reset(context).map(|_| None),
    });
    let response = match answer.await {
        Some(Ok(Ok(response))) => response,
        Some(Err(status)) => status.into_http(),
        // Its caller gives it up.
        None => return,
    };
    let (parts, body) = response.into_parts();
    let is_end = body.is_end_stream();
    let Ok(stream) = respond.send_response(http::Response::from_parts(parts, ()), is_end) else { return };
    if !is_end {
        // Fails only if the caller is gone.
        pump(body, stream).await.ok();
    }
}

/// Sends a body, as fast as it is taken.
async fn pump(mut body: Body, mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
    loop {
        let frame = poll_fn(|context| match Pin::new(&mut body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            // What nobody waits for is not made.
            Poll::Pending => stream.poll_reset(context)?.map(|reason| Err(h2::Error::from(reason))),
        });
        let frame = match frame.await? {
            None => return stream.send_data(Bytes::new(), true),
            Some(Err(status)) => {
                let mut trailers = http::HeaderMap::new();
                if status.add_header(&mut trailers).is_err() {
                    stream.send_reset(Reason::INTERNAL_ERROR);
                }
                return stream.send_trailers(trailers);
            }
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(mut data) => send_all(&mut stream, &mut data).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return stream.send_trailers(trailers);
                }
            }
        }
    }
}

/// The body of a request.
struct Incoming(RecvStream);

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken = |error: h2::Error| Status::cancelled(error.to_string());
        match ready!(self.0.poll_data(context)) {
            Some(Ok(data)) => {
                // Fails only for a stream that is gone, which says so next.
                self.0.flow_control().release_capacity(data.len()).ok();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(broken(error)))),
            None => {
                let trailers = ready!(self.0.poll_trailers(context)).map_err(broken);
                Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
