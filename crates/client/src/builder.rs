//! How a client is set up.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint as Settings, Identity};

use crate::client::Client;
use crate::connection::{Connection, Endpoint};
use crate::credentials::Credentials;
use crate::pipeline::WINDOW_DEFAULT;
use crate::retry::Retries;

/// How long a call takes at most, its retries included.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);

/// Pause between two pings on a connection, calls or not.
pub const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(10);

/// How long a ping may be without its answer before the connection is given up.
const KEEP_ALIVE_PATIENCE: Duration = Duration::from_secs(5);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An endpoint is no `http://` or `https://` with host and port.
    #[error("endpoint {endpoint:?}: {reason}, such as http://127.0.0.1:50051")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or a key is not what it should be, or no endpoint has any use for it.
    #[error("TLS: {0}")]
    Tls(String),
    /// The key holds bytes that no header may hold.
    #[error("the key holds bytes that a header may not hold: is there a line break at its end?")]
    Key,
    /// There is no tokio runtime here, which the connections need.
    #[error("a client is made inside of a tokio runtime")]
    NoRuntime,
}

/// Sets up a [`Client`]; made by [`Client::builder`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    endpoints: Vec<String>,
    credentials: Option<Credentials>,
    tls: Option<ClientTlsConfig>,
    deadline: Duration,
    connect_timeout: Duration,
    keep_alive: Duration,
    retries: Option<Retries>,
    batching: bool,
    window: usize,
}

impl Builder {
    pub(crate) fn new(endpoint: String) -> Self {
        Self {
            endpoints: vec![endpoint],
            credentials: Some(Credentials::None),
            tls: None,
            deadline: DEADLINE_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            keep_alive: KEEP_ALIVE_DEFAULT,
            retries: Some(Retries::default()),
            batching: true,
            window: WINDOW_DEFAULT,
        }
    }

    /// One more server of the same cluster. A client begins with any of them and goes on to the next when one fails.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// A key, as `roomcast-gateway generate-key` prints it; or one token for good.
    pub fn bearer(mut self, key: &str) -> Self {
        self.credentials = Credentials::key(key.trim_end());
        self
    }

    /// Where tokens come from, asked before every call and every stream: keep one until shortly before it expires.
    pub fn bearer_from<F, T, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.credentials = Some(Credentials::provider(provider));
        self
    }

    /// Authorities, PEM, to trust for `https://` in place of those that the system trusts.
    pub fn tls_ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls = Some(self.tls.unwrap_or_default().ca_certificate(Certificate::from_pem(pem)));
        self
    }

    /// The client's own certificate chain and its key, PEM.
    pub fn tls_identity(mut self, cert_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        self.tls = Some(self.tls.unwrap_or_default().identity(Identity::from_pem(cert_pem, key_pem)));
        self
    }

    /// The name that the server's certificate has to carry, where it is not the host of the endpoint.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.tls = Some(self.tls.unwrap_or_default().domain_name(name));
        self
    }

    /// How long a call takes at most, its retries included. Default: [`DEADLINE_DEFAULT`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a connection may take to come about. Default: [`CONNECT_TIMEOUT_DEFAULT`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Pause between two pings, by which a dead connection is found. Default: [`KEEP_ALIVE_DEFAULT`].
    pub fn keep_alive(mut self, pause: Duration) -> Self {
        self.keep_alive = pause;
        self
    }

    /// When a call is tried again, in place of the default.
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Every failure is an error at once, and messages carry no idempotency key.
    pub fn without_retries(mut self) -> Self {
        self.retries = None;
        self
    }

    /// Every message is a call of its own, also while others are on their way.
    pub fn without_batching(mut self) -> Self {
        self.batching = false;
        self
    }

    /// Messages of one stream that may wait for their answer; more wait to be sent. Default: 256.
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages;
        self
    }

    /// The client. It connects when it is first used.
    ///
    /// # Errors
    /// [`BuildError`], before anything is connected.
    pub fn build(self) -> Result<Client, BuildError> {
        Handle::try_current().map_err(|_none| BuildError::NoRuntime)?;
        let credentials = self.credentials.clone().ok_or(BuildError::Key)?;
        if self.tls.is_some() && !self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
            return Err(BuildError::Tls("is set up, but no endpoint begins with https://".into()));
        }
        let endpoints =
            self.endpoints.iter().map(|endpoint| self.connect(endpoint)).collect::<Result<_, _>>()?;
        let connection = Connection::new(endpoints, credentials, self.deadline, self.retries);
        Ok(Client::over(connection, self.batching, self.window))
    }

    fn connect(&self, name: &str) -> Result<Endpoint, BuildError> {
        let unfit =
            |reason: &str| BuildError::Endpoint { endpoint: name.to_owned(), reason: reason.to_owned() };
        let settings = Settings::from_shared(name.to_owned()).map_err(|_| unfit("is no URL"))?;
        let secure = match settings.uri().scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unfit("begins neither with http:// nor with https://")),
        };
        if settings.uri().path() != "/" || settings.uri().query().is_some() {
            return Err(unfit("has a path, but only scheme, host and port count"));
        }
        let mut settings = settings
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(self.keep_alive)
            .keep_alive_timeout(KEEP_ALIVE_PATIENCE)
            .keep_alive_while_idle(true)
            .user_agent(concat!("roomcast-client/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| unfit(&error.to_string()))?;
        if secure {
            // Adds what the system trusts, unless authorities were given.
            let tls = self.tls.clone().unwrap_or_else(|| ClientTlsConfig::new().with_native_roots());
            let reason = |error: tonic::transport::Error| {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                BuildError::Tls(source.unwrap_or_else(|| error.to_string()))
            };
            settings = settings.tls_config(tls).map_err(reason)?;
        }
        Ok(Endpoint { name: name.to_owned(), channel: settings.connect_lazy() })
    }
}
