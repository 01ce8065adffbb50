//! The PROXY header in front of a connection. It is looked at where it lies and taken out once it is whole, so that what
//! follows it is as untouched as on a connection without one, be it HTTP or TLS.

use std::{fmt::Display, io, net::IpAddr, time::Instant};

use admission::{HEADER_BYTES_MAX, HeaderFault, ProxyHeader};
use broker::LinkId;
use engineio::CloseReason;

use super::Driver;
use crate::socket::Socket;

/// What a header is that does not come in time.
pub(super) const LATE: &str = "the PROXY header did not come within limits.request_timeout_ms";

impl Driver {
    /// Takes the PROXY header of a connection, if it is whole; false if the connection is not to be read on here.
    pub(super) fn take_proxy_header(&mut self, link: LinkId, scratch: &mut [u8], now: Instant) -> bool {
        let Some(found) = self.links.get_mut(link.0 as usize) else { return false };
        let room = scratch.len().min(HEADER_BYTES_MAX);
        let seen = match found.socket.peek(&mut scratch[..room]) {
            Ok(seen) => &scratch[..seen],
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return false;
            }
            Err(_) => {
                self.handle_end(link, CloseReason::TransportError);
                return false;
            }
        };
        let parsed = ProxyHeader::parse(seen, self.context.client.proxy_protocol);
        let has_ended = seen.is_empty() || found.has_hung_up();
        match parsed {
            Ok(Some(header)) => {
                // These bytes are here: they have just been seen.
                match found.socket.read(&mut scratch[..header.length]) {
                    Ok(taken) if taken == header.length => self.identify(link, header.source, now),
                    _ => {
                        self.handle_end(link, CloseReason::TransportError);
                        false
                    }
                }
            }
            // A balancer that only looks whether the port is open.
            Ok(None) if seen.is_empty() => {
                self.handle_end(link, CloseReason::TransportClose);
                false
            }
            Ok(None) if has_ended => {
                self.refuse_proxy_header(link, HeaderFault::Malformed("it ends with the connection"));
                false
            }
            // The rest is another event.
            Ok(None) => false,
            Err(fault) => {
                self.refuse_proxy_header(link, fault);
                false
            }
        }
    }

    /// It is known who the client is: `source`, or the proxy itself. False if the connection is not read on here.
    fn identify(&mut self, link: LinkId, source: Option<IpAddr>, now: Instant) -> bool {
        let Some(found) = self.links.get_mut(link.0 as usize) else { return false };
        if let Some(source) = source {
            found.peer = source;
            match self.context.place_of_connection(source, now) {
                Ok(place) => found.place = place,
                Err(_) => {
                    if let Some(stream) = self.release(link).and_then(|link| link.socket.into_plain()) {
                        self.turn_away(stream);
                    }
                    return false;
                }
            }
        }
        found.await_head();
        if self.context.tls.is_none() {
            return true;
        }
        if let Some(link) = self.release(link)
            && let Socket::Plain(stream) = link.socket
        {
            self.serve_tls(stream, link.peer, link.place);
        }
        false
    }

    /// Closes a connection without a word: whoever is at its other end does not speak what we do.
    ///
    /// Source: HAProxy, "The PROXY protocol", section 2: "the receiver should abort the connection".
    pub(super) fn refuse_proxy_header(&mut self, link: LinkId, error: impl Display) {
        if let Some(link) = self.release(link) {
            self.tell_of_proxy_header(link.peer, error);
        }
    }

    /// Counts and tells that the first bytes of a connection were not what they have to be.
    pub(super) fn tell_of_proxy_header(&self, address: IpAddr, error: impl Display) {
        self.metrics.request_refused(telemetry::Refusal::ProxyHeader);
        telemetry::emit(&telemetry::ProxyHeaderRefused { address, error: error.to_string() });
    }
}
