//! A gateway, clients of Socket.IO and connections that break.

mod gateway;
mod proxy;
mod socket;

use std::time::Duration;

use roomcast_client::{Builder, Client};

pub(crate) use gateway::{Gateway, PATIENCE, binary};
pub(crate) use proxy::Proxy;
pub(crate) use socket::{Packet, Socket};

/// A client of the gateway, with patience for a busy machine.
pub(crate) fn client(gateway: &Gateway) -> Builder {
    Client::builder(gateway.endpoint()).deadline(PATIENCE)
}

/// What comes within [`PATIENCE`].
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it did not come in time")
}

/// Asks until it is so.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    within(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
