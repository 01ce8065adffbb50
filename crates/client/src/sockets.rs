//! The sockets of a selection, page by page.

use std::sync::{Arc, OnceLock};
use std::vec;

use futures_util::stream::try_unfold;
use roomcast_proto::v1::{Coverage, FetchSocketsRequest, FetchSocketsResponse, Socket};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Request, Status, Streaming};

use crate::client::{Client, ServiceClient};
use crate::connection::{Again, failure};
use crate::error::{Error, is_lost, is_refused};
use crate::pages::Pages;

/// Where the list has come to.
struct State {
    client: Client,
    request: FetchSocketsRequest,
    pages: Option<Streaming<FetchSocketsResponse>>,
    page: vec::IntoIter<Socket>,
    coverage: Arc<OnceLock<Coverage>>,
    /// Losses since the last page, and the time of the first.
    tried: u32,
    lost_at: Option<Instant>,
    ended: bool,
}

/// The sockets that `request` means. When the connection is lost, a new call goes on behind the last page.
pub(crate) fn fetch(client: Client, request: FetchSocketsRequest) -> Pages<Socket> {
    let coverage = Arc::new(OnceLock::new());
    let begin = State {
        client,
        request,
        pages: None,
        page: vec::IntoIter::default(),
        coverage: coverage.clone(),
        tried: 0,
        lost_at: None,
        ended: false,
    };
    let items = try_unfold(begin, |mut state| async move {
        loop {
            if let Some(socket) = state.page.next() {
                return Ok(Some((socket, state)));
            }
            if state.ended {
                return Ok(None);
            }
            state.turn_page().await?;
        }
    });
    Pages::new(items, coverage)
}

impl State {
    async fn turn_page(&mut self) -> Result<(), Error> {
        let mut pages = match self.pages.take() {
            Some(pages) => pages,
            None => {
                let call = |mut client: ServiceClient, mut request: Request<_>| async move {
                    // A long list is no slow one: each page has the time of a call.
                    request.metadata_mut().remove("grpc-timeout");
                    client.fetch_sockets(request).await
                };
                self.client.call(self.request.clone(), Again::Harmless, call).await?
            }
        };
        let time = self.client.time();
        let Ok(page) = timeout(time, pages.message()).await else {
            return Err(Error::DeadlineExceeded(format!("no page of sockets within {time:?}")));
        };
        match page {
            Ok(Some(page)) => {
                self.tried = 0;
                self.lost_at = None;
                self.ended = page.next_page_token.is_empty();
                let count = u64::try_from(page.sockets.len()).unwrap_or(u64::MAX);
                if self.request.sockets_max > 0 {
                    // What a call that goes on behind this page may bring.
                    self.request.sockets_max = self.request.sockets_max.saturating_sub(count);
                    self.ended |= self.request.sockets_max == 0;
                }
                self.request.page_token = page.next_page_token;
                self.page = page.sockets.into_iter();
                if let Some(coverage) = page.coverage {
                    self.coverage.set(coverage).ok();
                }
                self.pages = Some(pages);
                Ok(())
            }
            Ok(None) => {
                self.ended = true;
                Ok(())
            }
            Err(status) => self.lost(status).await,
        }
    }

    /// Waits for the pause before the next call, or fails.
    async fn lost(&mut self, status: Status) -> Result<(), Error> {
        let connection = &self.client.shared.connection;
        let (place, endpoint) = connection.current();
        let since = *self.lost_at.get_or_insert_with(Instant::now);
        let again = (is_lost(&status) || is_refused(&status)) && since.elapsed() < connection.deadline;
        match connection.retries.as_ref().filter(|_| again).and_then(|retries| retries.pause(self.tried)) {
            Some(pause) => {
                connection.failed(place);
                self.tried = self.tried.saturating_add(1);
                sleep(pause).await;
                Ok(())
            }
            None => Err(failure(endpoint, status, self.tried)),
        }
    }
}
