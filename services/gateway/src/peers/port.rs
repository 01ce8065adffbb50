//! The cluster port: connections of other gateways, dealt out to the shards.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc::error::SendError},
};

use crate::inbox::{Command, Shards};

/// Connections at once; the next one waits in the kernel's queue. Each poll that is held has one for itself.
const CONNECTIONS_MAX: usize = 131_072;
/// How long a connection may be idle, or take to send a request head.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(60);
/// Pause after a failed accept, so that a full table of open files does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection of another gateway.
pub(crate) struct PeerStream {
    /// Non-blocking.
    pub(crate) stream: std::net::TcpStream,
    /// Its place among [`CONNECTIONS_MAX`], for as long as it lasts.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Accepts connections on the cluster port for as long as there are shards: a gateway that drains goes on answering
/// for its sessions. Any shard can answer for all, so they get them in turn.
pub(crate) async fn serve(listener: TcpListener, shards: Shards) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut turn: usize = 0;
    while let Ok(place) = places.clone().acquire_owned().await {
        let accepted = listener.accept().await;
        match accepted.and_then(|(stream, _)| TcpStream::into_std(stream)) {
            Ok(stream) => {
                turn = turn.wrapping_add(1);
                if deal_out(&shards, turn, PeerStream { stream, place }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                telemetry::emit(&telemetry::AcceptFailed { port: "cluster", error: error.to_string() });
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a connection to the first shard from the `turn`th on that has not ended; an error if all have.
async fn deal_out(shards: &Shards, turn: usize, stream: PeerStream) -> Result<(), SendError<Command>> {
    let inboxes = shards.inboxes();
    let mut command = Command::ServePeer(stream);
    for inbox in inboxes.iter().cycle().skip(turn % inboxes.len().max(1)).take(inboxes.len()) {
        match inbox.send(command).await {
            Ok(()) => return Ok(()),
            Err(SendError(unsent)) => command = unsent,
        }
    }
    Err(SendError(command))
}
