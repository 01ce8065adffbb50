//! Connections to other gateways, kept alive between requests. One pool per shard; never leaves its thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};

use crate::tasks::{TaskSocket, timeout};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections of one shard to one gateway. A poll that is held has one for itself; at that many, clients get 503.
/// Two shards of as many stay below the ports that a system has for one destination.
const CONNECTIONS_MAX: usize = 12_000;
/// Connections to one gateway that are kept though nothing is asked on them.
const IDLE_MAX: usize = 256;
/// How long an idle connection is kept: less than the cluster port keeps it, so that no request is written into
/// a connection that the other side is just closing.
const IDLE_TIME: Duration = Duration::from_secs(super::IDLE_TIME.as_secs() / 2);
/// How long a gateway that has vanished may leave our bytes unconfirmed, in the kernel's view, and how long a
/// quiet connection stays unprobed: both end polls of a machine that is gone without a word.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(5);

type Sender = SendRequest<Full<Bytes>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    #[error("{CONNECTIONS_MAX} connections to it are open")]
    Busy,
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[error("no connection: {0}")]
    Refused(#[from] io::Error),
    #[error("no HTTP: {0}")]
    Handshake(#[from] hyper::Error),
}

/// The connections of one shard.
#[derive(Clone, Default)]
pub(super) struct Pool(Rc<RefCell<HashMap<SocketAddr, Connections>>>);

/// The connections to one gateway.
#[derive(Default)]
struct Connections {
    /// Those that nothing is asked on, and since when; the latest last.
    idle: Vec<(Sender, Instant)>,
    /// All of them.
    open: usize,
}

/// A connection to ask one thing on.
pub(super) struct Leased {
    pub(super) sender: Sender,
    /// Whether it has been used before, and so may have been closed meanwhile.
    pub(super) used: bool,
}

impl Pool {
    /// An idle connection to `address`, or else a new one.
    ///
    /// # Errors
    /// [`NoConnection`], with the reason.
    pub(super) async fn lease(&self, address: SocketAddr) -> Result<Leased, NoConnection> {
        if let Some(sender) = self.take_idle(address) {
            return Ok(Leased { sender, used: true });
        }
        let place = Place::take(self, address).ok_or(NoConnection::Busy)?;
        let stream = timeout(CONNECT_TIMEOUT, TaskSocket::connect(address))
            .await
            .map_err(|_| NoConnection::Timeout)??;
        stream.stream().set_nodelay(true)?;
        let socket = SockRef::from(stream.stream());
        socket.set_tcp_user_timeout(Some(UNCONFIRMED_MAX))?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(UNCONFIRMED_MAX).with_interval(UNCONFIRMED_MAX),
        )?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // How it ended is told by the request that was on it, if there was one.
            connection.with_upgrades().await.ok();
            drop(place);
        });
        Ok(Leased { sender, used: false })
    }

    /// Takes a connection back once its answer has been read to the end. One that ends before is not kept.
    pub(super) fn give_back(&self, address: SocketAddr, mut sender: Sender) {
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                pool.keep(address, sender);
            }
        });
    }

    fn keep(&self, address: SocketAddr, sender: Sender) {
        let now = Instant::now();
        let mut gateways = self.0.borrow_mut();
        let Some(connections) = gateways.get_mut(&address) else { return };
        connections.idle.retain(|(sender, since)| !sender.is_closed() && now - *since < IDLE_TIME);
        if connections.idle.len() < IDLE_MAX {
            connections.idle.push((sender, now));
        }
    }

    fn take_idle(&self, address: SocketAddr) -> Option<Sender> {
        let mut gateways = self.0.borrow_mut();
        let idle = &mut gateways.get_mut(&address)?.idle;
        let now = Instant::now();
        while let Some((sender, since)) = idle.pop() {
            if sender.is_ready() && now - since < IDLE_TIME {
                return Some(sender);
            }
        }
        None
    }
}

/// Keeps a connection in the count of its gateway.
struct Place {
    pool: Pool,
    address: SocketAddr,
}

impl Place {
    fn take(pool: &Pool, address: SocketAddr) -> Option<Self> {
        let mut gateways = pool.0.borrow_mut();
        let connections = gateways.entry(address).or_default();
        if connections.open >= CONNECTIONS_MAX {
            return None;
        }
        connections.open += 1;
        Some(Self { pool: pool.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Senders of a gateway that is gone are dropped once nothing is borrowed any more.
        let gone = {
            let mut gateways = self.pool.0.borrow_mut();
            let Some(connections) = gateways.get_mut(&self.address) else { return };
            connections.open -= 1;
            // Gateways come and go with their addresses: the last connection takes the entry along.
            (connections.open == 0).then(|| gateways.remove(&self.address))
        };
        drop(gone);
    }
}
