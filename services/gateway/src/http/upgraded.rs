//! WebSockets that are asked for on a connection that has spoken HTTP before, or TLS.

use std::{net::IpAddr, time::Instant};

use admission::Place;
use broker::Wire;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;

use super::{
    Service,
    answer::{self, Answer},
};
use crate::{
    inbox::{Adoption, Command, Purpose},
    stream::ClientStream,
    upgrade::{self, Refused, UpgradeRequest, Verdict},
};

impl Service {
    /// Answers an upgrade request, and hands the connection to the shard that will own it.
    pub(super) async fn upgrade(&self, request: Request<Incoming>) -> Answer {
        let find = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
        let lines = |name: &str| request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let asked = UpgradeRequest { path, query, header: &find, lines: &lines };
        let owner_of = |sid: &str| self.owner_of(sid);
        let (shard, purpose, greeting) =
            match upgrade::judge(&asked, &self.context.client, &self.engine, owner_of) {
                Verdict::Open(mut opening, greeting) => {
                    let client = self.client_of(&request);
                    match self.context.place_of_session(client, Instant::now()) {
                        Ok(place) => opening.place = place,
                        Err(_) => return self.refuse_upgrade(Refused::TooMany),
                    }
                    opening.handshake = Some(self.handshake_of(&request, client));
                    (self.number, Purpose::Open(opening), greeting)
                }
                Verdict::Farewell(greeting) => (self.number, Purpose::Farewell, greeting),
                Verdict::Probe { sid, shard, wire, deflate, greeting } => {
                    let check = |reply| Command::CheckUpgrade { sid, wire, reply };
                    match self.shards.ask(shard, check).await {
                        Some(Ok(())) => (shard, Purpose::Probe { sid, wire, deflate }, greeting),
                        _ if wire == Wire::V09 => (self.number, Purpose::Farewell, greeting),
                        Some(Err(broker::Refusal::Fault(fault))) => {
                            return self.refuse_upgrade(Refused::Fault(fault));
                        }
                        _ => return self.refuse_upgrade(Refused::Fault(engineio::HttpFault::SessionUnknown)),
                    }
                }
                Verdict::Elsewhere(node, farewell) => {
                    return self.forward_upgrade(request, node, farewell).await;
                }
                Verdict::NotFound => return answer::not_found(),
                Verdict::Refuse(refused) => return self.refuse_upgrade(refused),
            };
        self.adopt(hyper::upgrade::on(request), shard, purpose, &greeting)
    }

    /// Agrees to a WebSocket, which `shard` gets once it is one.
    pub(super) fn adopt(&self, client: OnUpgrade, shard: u8, purpose: Purpose, greeting: &[u8]) -> Answer {
        let inbox = self.shards.inbox(shard).clone();
        let (peer, place) = (self.peer, self.place.clone());
        tokio::task::spawn_local(async move {
            if let Ok(upgraded) = client.await
                && let Some(adoption) = adoption(upgraded, peer, place, purpose)
            {
                inbox.send(Command::Adopt(Box::new(adoption))).await.ok();
            }
        });
        switching_protocols(greeting)
    }

    /// Refuses a WebSocket.
    pub(super) fn refuse_upgrade(&self, refused: Refused) -> Answer {
        if let Refused::Fault(fault) = refused {
            self.context.metrics.request_refused(fault);
        }
        let mut answer = answer::typed(refused.status(), "text/html", refused.message());
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        if refused == Refused::TooMany {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if refused == Refused::Version {
            answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13, 8"));
        }
        answer
    }
}

/// Takes the bare socket out of the HTTP machinery.
fn adoption(upgraded: Upgraded, peer: IpAddr, place: Option<Place>, purpose: Purpose) -> Option<Adoption> {
    let parts = upgraded.downcast::<TokioIo<ClientStream>>().ok()?;
    let (socket, ahead) = parts.io.into_inner().into_socket();
    // What HTTP had read beyond the request comes before what it had not read of what was read ahead.
    let ahead = [parts.read_buf, ahead].concat().into();
    Some(Adoption { socket, peer, place, ahead, greeting: None, purpose })
}

/// The 101 answer that was written out for a bare socket, as an HTTP answer.
fn switching_protocols(greeting: &[u8]) -> Answer {
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(greeting).is_ok() {
        for header in response.headers.iter() {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(header.name), HeaderValue::from_bytes(header.value))
            {
                answer.headers_mut().append(name, value);
            }
        }
    }
    answer
}
