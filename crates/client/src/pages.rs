//! Lists that come in pages.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use roomcast_proto::v1::Coverage;

use crate::error::Error;

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// A list whose pages are fetched as it is read: a [`Stream`], and without one [`Pages::next`].
#[must_use = "nothing is fetched before it is read"]
pub struct Pages<T> {
    items: Items<T>,
    coverage: Arc<OnceLock<Coverage>>,
}

impl<T> Pages<T> {
    pub(crate) fn new(
        items: impl Stream<Item = Result<T, Error>> + Send + 'static,
        coverage: Arc<OnceLock<Coverage>>,
    ) -> Self {
        Self { items: Box::pin(items), coverage }
    }

    /// The next one; `None` behind the last.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        self.items.next().await
    }

    /// All that are left.
    ///
    /// # Errors
    /// The first that comes, with which the list ends.
    pub async fn all(&mut self) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while let Some(item) = self.next().await {
            all.push(item?);
        }
        Ok(all)
    }

    /// The nodes the list speaks for, behind its last one: whether some did not answer.
    pub fn coverage(&self) -> Option<&Coverage> {
        self.coverage.get()
    }
}

impl<T> Stream for Pages<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(context)
    }
}

impl<T> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("coverage", &self.coverage).finish_non_exhaustive()
    }
}
