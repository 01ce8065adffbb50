//! The first bytes of a connection: a request for a WebSocket stays here, all other HTTP goes to its tasks.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::Instant,
};

use admission::{HeaderFault, Place};
use broker::LinkId;
use bytes::Bytes;
use mio::net::TcpStream;

use super::{Driver, link::Link};
use crate::{
    handshake, http,
    inbox::{Adoption, Command, Purpose},
    peers::PeerStream,
    socket::Socket,
    stream::ClientStream,
    tasks::TaskSocket,
    upgrade::{self, Refused, UpgradeRequest, Verdict},
};

/// Header lines of a WebSocket request that are read here; one with more is read by the HTTP task.
const HEADERS_MAX: usize = 64;

/// What the first bytes of a connection are.
enum Head {
    /// A whole request for a WebSocket, this long, and what is to be done with it.
    WebSocket(usize, Verdict),
    /// Anything else.
    Http,
}

/// What `judge` makes of the request for a WebSocket that `bytes` begin with: of its length, target, headers and what it
/// asks for. `None` for any other bytes, half a request among them.
pub(crate) fn websocket_request<T>(
    bytes: &[u8],
    judge: impl FnOnce(usize, &str, &[httparse::Header<'_>], &UpgradeRequest<'_>) -> T,
) -> Option<T> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
    if length > http::HEAD_BYTES_MAX {
        return None;
    }
    let headers = &*request.headers;
    let is = |header: &httparse::Header<'_>, name: &str| header.name.eq_ignore_ascii_case(name);
    let find = |name: &str| headers.iter().find(|header| is(header, name)).map(|header| header.value);
    let lines =
        |name: &str| headers.iter().filter(|header| is(header, name)).map(|header| header.value).collect();
    if request.method != Some("GET") || !http::asks_for_websocket(find("upgrade"), find("connection")) {
        return None;
    }
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let asked = UpgradeRequest { path, query, header: &find, lines: &lines };
    Some(judge(length, target, headers, &asked))
}

impl Driver {
    /// Takes in the first bytes of a connection; the length of its head if it is a WebSocket now.
    pub(super) fn take_head(&mut self, link: LinkId, bytes: &[u8], now: Instant) -> Option<usize> {
        match self.read_head(link, bytes, now) {
            Head::WebSocket(length, Verdict::Open(opening, greeting)) => {
                self.begin(link, Purpose::Open(opening), Some(greeting), now);
                Some(length)
            }
            Head::WebSocket(length, Verdict::Probe { sid, shard, wire, deflate, greeting }) => {
                let purpose = Purpose::Probe { sid, wire, deflate };
                if shard == self.number {
                    self.begin(link, purpose, Some(greeting), now);
                    return Some(length);
                }
                let ahead = Bytes::copy_from_slice(&bytes[length..]);
                self.hand_over(link, shard, ahead, greeting, purpose);
                None
            }
            Head::WebSocket(_, Verdict::Farewell(greeting)) => {
                self.begin(link, Purpose::Farewell, Some(greeting), now);
                None
            }
            Head::WebSocket(_, Verdict::Refuse(refused)) => {
                if let Refused::Fault(fault) = refused {
                    self.metrics.request_refused(fault);
                }
                if let Some(found) = self.links.get_mut(link.0 as usize) {
                    // A fresh socket takes these few bytes; if it is broken, there is nobody to tell.
                    found.socket.write(&[io::IoSlice::new(&refused.response())]).ok();
                }
                self.finish(link, now);
                None
            }
            Head::Http if admission::looks_like_header(bytes) => {
                if let Some(found) = self.links.get(link.0 as usize) {
                    self.tell_of_proxy_header(found.peer, HeaderFault::Stranger);
                }
                drop(self.release(link));
                None
            }
            // HTTP tasks are where requests are forwarded.
            Head::WebSocket(_, Verdict::NotFound | Verdict::Elsewhere(..)) | Head::Http => {
                self.serve_http(link, Bytes::copy_from_slice(bytes));
                None
            }
        }
    }

    fn read_head(&self, link: LinkId, bytes: &[u8], now: Instant) -> Head {
        websocket_request(bytes, |length, target, headers, request| {
            let owner_of = |sid: &str| self.shards.owner_of(sid);
            let mut verdict = upgrade::judge(request, &self.context.client, self.shard.engine(), owner_of);
            if let Verdict::Open(opening, _) = &mut verdict
                && let Some(found) = self.links.get(link.0 as usize)
            {
                let headers = headers.iter().map(|header| (header.name, header.value));
                let forwarded_for =
                    headers.clone().filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
                let client = self.context.client_of(found.peer, forwarded_for.map(|(_, value)| value));
                match self.context.place_of_session(client, now) {
                    Ok(place) => opening.place = place,
                    Err(_) => return Head::WebSocket(length, Verdict::Refuse(Refused::TooMany)),
                }
                // A connection that speaks TLS does not come this way.
                opening.handshake = Some(handshake::record(target, headers, client, false));
            }
            Head::WebSocket(length, verdict)
        })
        .unwrap_or(Head::Http)
    }

    /// Gives a WebSocket to the shard that owns its session.
    fn hand_over(&mut self, link: LinkId, shard: u8, ahead: Bytes, greeting: Bytes, purpose: Purpose) {
        let Some(Link { socket, peer, place, .. }) = self.release(link) else { return };
        let adoption = Adoption { socket, peer, place, ahead, greeting: Some(greeting), purpose };
        let inbox = self.shards.inbox(shard).clone();
        // The other shard's inbox may be full: whoever waits for it is not this shard.
        tokio::task::spawn_local(async move {
            inbox.send(Command::Adopt(Box::new(adoption))).await.ok();
        });
    }

    /// Gives a plain connection to a task that speaks HTTP on it.
    fn serve_http(&mut self, link: LinkId, ahead: Bytes) {
        if let Some(Link { socket: Socket::Plain(stream), peer, place, .. }) = self.release(link)
            && let Ok(stream) = ClientStream::plain(stream, ahead, self.context.stall_timeout)
        {
            http::spawn(stream, self.http_service(http::Door::Clients, peer, place));
        }
    }

    /// Gives a connection of another gateway to a task that speaks HTTP on it.
    pub(super) fn serve_peer(&mut self, PeerStream { stream, place }: PeerStream) {
        // One that has gone already says nothing any more.
        let peer = stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let stream = TcpStream::from_std(stream);
        if let Ok(stream) = ClientStream::plain(stream, Bytes::new(), self.context.stall_timeout) {
            http::spawn_peer(stream, self.http_service(http::Door::Peers, peer, None), place);
        }
    }

    /// Gives a connection to a task that speaks TLS and HTTP on it.
    pub(super) fn serve_tls(&mut self, stream: TcpStream, peer: IpAddr, place: Option<Place>) {
        if let Ok(stream) = TaskSocket::new(stream) {
            http::spawn_tls(stream, self.http_service(http::Door::Clients, peer, place));
        }
    }

    fn http_service(&self, door: http::Door, peer: IpAddr, place: Option<Place>) -> http::Service {
        http::Service {
            context: self.context.clone(),
            engine: self.shard.engine().clone(),
            shards: self.shards.clone(),
            number: self.number,
            door,
            peer,
            place,
            requests: Rc::default(),
        }
    }
}
