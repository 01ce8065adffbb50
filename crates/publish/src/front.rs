//! In front of all services: who calls, and the short way of the rpcs that publish.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use telemetry::PublishMetrics;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::auth::Authenticator;

/// Who looks at credentials, and counts those that are refused.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Arc<PublishMetrics>,
}

impl Door {
    /// Leaves the caller in the request's extensions, or says why it is refused.
    pub(crate) async fn admit<B>(&self, request: &mut http::Request<B>) -> Result<(), Status> {
        let started = Instant::now();
        let tls = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = tls.and_then(TlsConnectInfo::peer_certs);
        let certificates = certificates.as_ref().map(|certificates| certificates.as_slice());
        match self.authenticator.caller(request.headers(), certificates).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Ok(())
            }
            Err(status) => {
                self.metrics.answered(status.code().into(), started.elapsed());
                Err(status)
            }
        }
    }
}

/// Takes the rpcs of `P` past the router, whose boxes and matching cost a unary call more than its publish, and
/// everything else to it.
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
