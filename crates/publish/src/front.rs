//! In front of all services: who calls, and which service answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::pki_types::CertificateDer;
use telemetry::PublishMetrics;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::auth::{Authenticator, Caller};

/// The verified certificates of the client of a connection, its own first; `None` if it has shown none.
pub(crate) type Certificates = Option<Arc<[CertificateDer<'static>]>>;

/// Who looks at credentials, and counts those that are refused.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Arc<PublishMetrics>,
}

impl Door {
    /// Says who calls, or why the call is refused.
    pub(crate) async fn caller(
        &self,
        headers: &http::HeaderMap,
        certificates: &Certificates,
    ) -> Result<Caller, Status> {
        let started = Instant::now();
        let caller = self.authenticator.caller(headers, certificates.as_deref()).await;
        caller.inspect_err(|status| self.metrics.answered(status.code().into(), started.elapsed()))
    }

    /// Leaves the caller in the request's extensions, or says why it is refused.
    pub(crate) async fn admit<B>(&self, request: &mut http::Request<B>) -> Result<(), Status> {
        let certificates = request.extensions().get::<Certificates>().cloned().flatten();
        let caller = self.caller(request.headers(), &certificates).await?;
        request.extensions_mut().insert(caller);
        Ok(())
    }
}

/// Takes the rpcs of `P` past the router, whose boxes and matching cost as much as some of them, and everything else
/// to it. The rpcs that publish come here only over HTTP/1.1.
#[derive(Clone)]
pub(crate) struct Front<P> {
    pub(crate) rpcs: P,
    /// In front of `rpcs`.
    pub(crate) door: Option<Door>,
    pub(crate) routes: Routes,
}

type Answered = Result<http::Response<Body>, Infallible>;

impl<P> Service<http::Request<Body>> for Front<P>
where
    P: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future = BoxFuture<http::Response<Body>, Infallible>,
        > + NamedService
        + Clone
        + Send
        + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As both of them are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let rest = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(P::NAME));
        if !rest.is_some_and(|rest| rest.starts_with('/')) {
            return Box::pin(self.routes.call(request));
        }
        let Some(door) = self.door.clone() else { return self.rpcs.call(request) };
        let mut rpcs = self.rpcs.clone();
        Box::pin(async move {
            match door.admit(&mut request).await {
                Ok(()) => rpcs.call(request).await,
                Err(status) => Answered::Ok(status.into_http()),
            }
        })
    }
}
