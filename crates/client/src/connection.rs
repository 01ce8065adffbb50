//! Calls over the connections to the endpoints: credentials, deadline, retries, the next endpoint when one fails.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomcast_proto::v1::publisher_client::PublisherClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::credentials::Credentials;
use crate::error::{Error, is_lost, is_refused};
use crate::retry::Retries;

/// Whether a call may be made again when nobody knows if it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Twice is as good as once: it reads, sets a state, or carries an idempotency key.
    Harmless,
    /// Twice would be seen: only once the server has refused it.
    OnlyIfRefused,
}

/// One endpoint with its connection, which is made at the first call and again whenever it is lost.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) channel: Channel,
}

/// The connections, and what every call over them has in common.
#[derive(Debug)]
pub(crate) struct Connection {
    /// At least one.
    endpoints: Vec<Endpoint>,
    /// Counts up when an endpoint fails; the place modulo their number is the one in use.
    current: AtomicUsize,
    credentials: Credentials,
    pub(crate) deadline: Duration,
    /// `None`: every failure is the caller's.
    pub(crate) retries: Option<Retries>,
}

impl Connection {
    /// Begins with any of `endpoints`, which are not empty: many clients spread over them.
    pub(crate) fn new(
        endpoints: Vec<Endpoint>,
        credentials: Credentials,
        deadline: Duration,
        retries: Option<Retries>,
    ) -> Self {
        let first = rand::random_range(0..endpoints.len().max(1));
        Self { endpoints, current: AtomicUsize::new(first), credentials, deadline, retries }
    }

    /// The endpoint in use, with its place for [`Self::failed`].
    pub(crate) fn current(&self) -> (usize, &Endpoint) {
        let place = self.current.load(Ordering::Relaxed);
        let endpoint = &self.endpoints[place % self.endpoints.len()];
        (place, endpoint)
    }

    /// Goes on to the next endpoint, unless another call has already.
    pub(crate) fn failed(&self, place: usize) {
        let next = place.wrapping_add(1);
        // Fails if another call was first.
        self.current.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// `message` with the credentials of now.
    pub(crate) async fn request<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        if let Some(authorization) = self.credentials.authorization().await? {
            request.metadata_mut().insert("authorization", authorization);
        }
        Ok(request)
    }

    /// Makes one call, again as [`Retries`] and `again` allow, and ends within `time`.
    pub(crate) async fn call<M, A, C, F>(
        &self,
        time: Duration,
        message: M,
        again: Again,
        call: C,
    ) -> Result<A, Error>
    where
        M: Clone,
        C: Fn(PublisherClient<Channel>, Request<M>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Instant::now() + time;
        let mut tried = 0;
        loop {
            let (place, endpoint) = self.current();
            let attempt = async {
                let mut request = self.request(message.clone()).await?;
                // So that the server stops too.
                request.set_timeout(deadline.saturating_duration_since(Instant::now()));
                Ok(call(PublisherClient::new(endpoint.channel.clone()), request).await)
            };
            let status = match timeout_at(deadline, attempt).await {
                Err(_elapsed) => return Err(out_of_time(endpoint, time)),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(Ok(response))) => return Ok(response.into_inner()),
                Ok(Ok(Err(status))) => status,
            };
            if Instant::now() >= deadline {
                return Err(out_of_time(endpoint, time));
            }
            let (lost, refused) = (is_lost(&status), is_refused(&status));
            if lost || refused {
                self.failed(place);
            }
            let harmless = refused || (lost && again == Again::Harmless);
            let pause = self.retries.as_ref().filter(|_| harmless).and_then(|retries| retries.pause(tried));
            match pause {
                Some(pause) if Instant::now() + pause < deadline => sleep(pause).await,
                _ => return Err(failure(endpoint, status, tried)),
            }
            tried = tried.saturating_add(1);
        }
    }
}

/// The error for a call that is not tried again; what the connection did carries the endpoint's name.
pub(crate) fn failure(endpoint: &Endpoint, status: Status, tried: u32) -> Error {
    if !is_lost(&status) && !is_refused(&status) {
        return status.into();
    }
    let text = match Error::from(status) {
        Error::Unavailable(text) | Error::Other { message: text, .. } => text,
        other => other.to_string(),
    };
    let tries =
        if tried == 0 { String::new() } else { format!(" (tried {} times)", tried.saturating_add(1)) };
    Error::Unavailable(format!("{}: {text}{tries}", endpoint.name))
}

fn out_of_time(endpoint: &Endpoint, time: Duration) -> Error {
    Error::DeadlineExceeded(format!("{}: no answer within {time:?}", endpoint.name))
}
