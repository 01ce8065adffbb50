//! Who a client is, and whether its address has room for it.

use std::{net::IpAddr, time::Instant};

use admission::{Kind, Place, Refused};
use telemetry::Refusal;

use crate::context::Context;

/// The answer to a connection of an address that is at a limit.
pub(crate) const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";

impl Context {
    /// Whether the connections of `peer` are those of a proxy: it is not the client, and says who is.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        admission::contains(&self.client.trusted_proxies, peer)
    }

    /// The client whose request came from `peer`, with these values of `X-Forwarded-For`.
    pub(crate) fn client_of<'a, V>(&self, peer: IpAddr, forwarded_for: V) -> IpAddr
    where
        V: IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
    {
        admission::client_address(peer, &self.client.trusted_proxies, forwarded_for)
    }

    /// A place for a connection of `peer`; none for that of a proxy, behind which are many clients.
    ///
    /// # Errors
    /// When the address has no room for it, which is counted and told.
    pub(crate) fn place_of_connection(&self, peer: IpAddr, now: Instant) -> Result<Option<Place>, Refusal> {
        if self.is_proxy(peer) { Ok(None) } else { self.place(Kind::Connection, peer, now) }
    }

    /// A place for a session of the client at `address`.
    ///
    /// # Errors
    /// As [`Self::place_of_connection`].
    pub(crate) fn place_of_session(&self, address: IpAddr, now: Instant) -> Result<Option<Place>, Refusal> {
        self.place(Kind::Session, address, now)
    }

    fn place(&self, kind: Kind, address: IpAddr, now: Instant) -> Result<Option<Place>, Refusal> {
        self.quotas.take(kind, address, now).map_err(|refused| {
            let cause = match refused {
                Refused::TooMany => Refusal::AddressConnections,
                Refused::TooFast => Refusal::AddressRate,
            };
            self.metrics.request_refused(cause);
            telemetry::emit(&telemetry::AddressLimited { address, cause });
            cause
        })
    }
}
