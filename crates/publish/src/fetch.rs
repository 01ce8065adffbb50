//! `FetchSockets`: sockets with all that is known of them, page by page.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use adapter::{Action, Handshake, Operation, SocketDetails, Targets};
use roomcast_proto::v1;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use socketio::SocketId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::convert;
use crate::dispatch::{Coverage, Dispatch, Unavailable};
use crate::operations::{page_size, timeout};
use crate::publishing::Publishing;

const SOCKETS_PER_PAGE_DEFAULT: u32 = 100;
const SOCKETS_PER_PAGE_MAX: u32 = 1_000;
/// Pages that wait for the caller to take them; the next is not fetched before.
const PAGES_MAX: usize = 1;

type Pages = ReceiverStream<Result<v1::FetchSocketsResponse, Status>>;

/// A listing on its way.
struct Listing<D> {
    dispatch: D,
    operation: Operation,
    timeout: Duration,
    /// The sockets still to be told, ordered.
    ids: Vec<SocketId>,
    page: usize,
    /// Whether there are more behind `ids`.
    more: bool,
    coverage: Coverage,
}

impl<D: Dispatch> Publishing<D> {
    /// Asks for the ids first and then for the details of one page at a time: so a large namespace is never in
    /// memory as a whole, and a caller that takes no pages causes no work.
    pub(crate) async fn fetch_sockets(&self, request: v1::FetchSocketsRequest) -> Result<Pages, Status> {
        let v1::FetchSocketsRequest { targets, page_size: page, sockets_max, page_token, timeout_ms } =
            request;
        let timeout = timeout(timeout_ms)?;
        let page = page_size(page, SOCKETS_PER_PAGE_DEFAULT, SOCKETS_PER_PAGE_MAX)?;
        let operation = self.operation(targets, Action::Identify)?;
        let (outcome, coverage) = self.dispatch.operate(operation.clone(), Some(timeout)).await?;
        let (ids, more) = window(outcome.ids, &page_token, sockets_max);
        let dispatch = self.dispatch.clone();
        let listing = Listing { dispatch, operation, timeout, ids, page, more, coverage };
        let (pages, taken) = mpsc::channel(PAGES_MAX);
        tokio::spawn(listing.tell(pages));
        Ok(ReceiverStream::new(taken))
    }
}

/// The ids behind `token` in their order, at most `max` unless that is 0, and whether there are more.
fn window(mut ids: Vec<SocketId>, token: &str, max: u64) -> (Vec<SocketId>, bool) {
    ids.retain(|id| token.is_empty() || id.as_str() > token);
    ids.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    ids.dedup();
    let max = usize::try_from(max).ok().filter(|max| *max > 0).unwrap_or(usize::MAX);
    let more = ids.len() > max;
    ids.truncate(max);
    (ids, more)
}

impl<D: Dispatch> Listing<D> {
    async fn tell(mut self, pages: mpsc::Sender<Result<v1::FetchSocketsResponse, Status>>) {
        let ids = std::mem::take(&mut self.ids);
        let mut rest = ids.as_slice();
        loop {
            let Ok(place) = pages.reserve().await else { return };
            let (page, behind) = rest.split_at(rest.len().min(self.page));
            rest = behind;
            let is_last = rest.is_empty();
            let sockets = match self.details(page).await {
                Ok(sockets) => sockets,
                Err(unavailable) => return place.send(Err(unavailable.into())),
            };
            let goes_on = !is_last || self.more;
            let last = page.last().filter(|_| goes_on);
            place.send(Ok(v1::FetchSocketsResponse {
                sockets: sockets.into_iter().map(socket).collect(),
                next_page_token: last.map(|id| id.as_str().to_owned()).unwrap_or_default(),
                coverage: is_last.then(|| convert::coverage(std::mem::take(&mut self.coverage))),
            }));
            if is_last {
                return;
            }
        }
    }

    /// The sockets of one page; those that have left meanwhile are missing.
    async fn details(&mut self, page: &[SocketId]) -> Result<Vec<SocketDetails>, Unavailable> {
        if page.is_empty() {
            return Ok(Vec::new());
        }
        let rooms = page.iter().map(SocketId::as_room).collect();
        let operation = Operation {
            targets: Targets { rooms, except: Vec::new() },
            action: Action::Fetch,
            ..self.operation.clone()
        };
        let (outcome, coverage) = self.dispatch.operate(operation, Some(self.timeout)).await?;
        // Others may have joined a room that is named like a socket.
        let mut wanted: HashSet<&SocketId> = page.iter().collect();
        let mut sockets = outcome.sockets;
        sockets.retain(|socket| wanted.remove(&socket.id));
        sockets.sort_unstable_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        if missing(&coverage) > missing(&self.coverage) {
            self.coverage = coverage;
        }
        Ok(sockets)
    }
}

fn missing(coverage: &Coverage) -> u32 {
    coverage.nodes_asked.saturating_sub(coverage.nodes_answered)
}

fn socket(details: SocketDetails) -> v1::Socket {
    let SocketDetails { id, handshake, rooms, data, node } = details;
    v1::Socket {
        id: id.as_str().to_owned(),
        handshake: Some(client_handshake(handshake)),
        rooms: rooms.iter().map(|room| room.as_str().to_owned()).collect(),
        data: text(&data),
        node: String::from(&*node),
    }
}

fn client_handshake(handshake: Handshake) -> v1::Handshake {
    let Handshake { headers, time, address, xdomain, secure, issued_ms, url, query, auth } = handshake;
    v1::Handshake {
        headers: names_and_values(&headers),
        time,
        address,
        xdomain,
        secure,
        issued_ms: i64::try_from(issued_ms).unwrap_or(i64::MAX),
        url,
        query: names_and_values(&query),
        auth: text(&auth),
    }
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

/// The members of a JSON object in their order, one for each element of a list. What is no object, which only a
/// foreign server could send, has none.
fn names_and_values(json: &[u8]) -> Vec<v1::NameValue> {
    let Members(members) = serde_json::from_slice(json).unwrap_or_default();
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in members {
        let values = match value {
            serde_json::Value::Array(values) => values,
            value => vec![value],
        };
        pairs.extend(values.into_iter().map(|value| {
            let value = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            v1::NameValue { name: name.clone(), value }
        }));
    }
    pairs
}

/// A JSON object whose members keep their order.
#[derive(Default)]
struct Members(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_ordered_and_begins_behind_its_token() {
        let ids = || ["c", "a", "d", "b", "a"].map(SocketId::new).to_vec();
        let check = |token, max, expected: &[&str], more| {
            let (window, rest) = window(ids(), token, max);
            assert_eq!(window.iter().map(SocketId::as_str).collect::<Vec<_>>(), expected);
            assert_eq!(rest, more);
        };
        check("", 0, &["a", "b", "c", "d"], false);
        check("b", 0, &["c", "d"], false);
        check("", 3, &["a", "b", "c"], true);
        check("c", 1, &["d"], false);
        check("d", 0, &[], false);
    }

    #[test]
    fn members_keep_their_order_and_lists_become_several() {
        let pairs = names_and_values(br#"{"z":"1","set-cookie":["a","b"],"n":2}"#);
        let text: Vec<_> = pairs.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect();
        assert_eq!(text, ["z=1", "set-cookie=a", "set-cookie=b", "n=2"]);
        assert_eq!(names_and_values(b"[]"), []);
    }
}
