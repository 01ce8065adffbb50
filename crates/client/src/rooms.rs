//! The rooms of a namespace.

use std::sync::{Arc, OnceLock};
use std::vec;

use futures_util::stream::try_unfold;
use roomcast_proto::v1::{self, Room};

use crate::client::{Client, ServiceClient};
use crate::connection::Again;
use crate::pages::Pages;

/// Which rooms to list; made by [`Client::rooms`](crate::Client::rooms).
#[derive(Clone, Debug)]
#[must_use]
pub struct ListRooms {
    client: Client,
    request: v1::ListRoomsRequest,
}

impl ListRooms {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, request: v1::ListRoomsRequest::default() }
    }

    /// Of this namespace instead of `/`.
    pub fn of(mut self, namespace: impl Into<String>) -> Self {
        self.request.namespace = namespace.into();
        self
    }

    /// Only rooms whose names begin so.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.request.prefix = prefix.into();
        self
    }

    /// Also the rooms that sockets have by their ids.
    pub fn with_socket_rooms(mut self) -> Self {
        self.request.socket_rooms = true;
        self
    }

    /// Rooms per page, 1 to 10,000; the server's default is 1000.
    pub fn page_size(mut self, rooms: u32) -> Self {
        self.request.page_size = rooms;
        self
    }

    /// The rooms, ordered by name.
    pub fn list(self) -> Pages<Room> {
        let coverage = Arc::new(OnceLock::new());
        let last = coverage.clone();
        let begin = (self, vec::IntoIter::default(), false);
        let items = try_unfold(begin, move |(mut list, mut page, mut ended)| {
            let last = last.clone();
            async move {
                loop {
                    if let Some(room) = page.next() {
                        return Ok(Some((room, (list, page, ended))));
                    }
                    if ended {
                        return Ok(None);
                    }
                    let call =
                        |mut client: ServiceClient, request| async move { client.list_rooms(request).await };
                    let response = list.client.call(list.request.clone(), Again::Harmless, call).await?;
                    page = response.rooms.into_iter();
                    ended = response.next_page_token.is_empty();
                    list.request.page_token = response.next_page_token;
                    if let (true, Some(coverage)) = (ended, response.coverage) {
                        last.set(coverage).ok();
                    }
                }
            }
        });
        Pages::new(items, coverage)
    }
}
