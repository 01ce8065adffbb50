//! Named publishes that all processes of a cluster know: a key with a TTL in Redis for each.

use std::time::Duration;

use bytes::Bytes;
use publish::{Claim, IdempotencyKey, Unavailable};
use redis_link::{Query, Reply};
use tokio::sync::oneshot;

use super::{ClusterCommand, ClusterHandle};

/// How long a claim holds whose process has died before it said what became of the publish.
const CLAIM_TTL: Duration = Duration::from_secs(30);
/// What the value of a claimed key begins with, and that of a settled one, before the answer.
const RUNNING: u8 = b'?';
const SETTLED: u8 = b'=';

impl ClusterHandle {
    /// Claims a named publish; see [`publish::Dispatch::claim`].
    pub(super) async fn claim(&self, key: IdempotencyKey) -> Result<Claim, Unavailable> {
        let value = Bytes::from_static(&[RUNNING]);
        let query = Query::SetIfAbsent { key: self.claim_key(key), value, ttl_ms: ms(CLAIM_TTL) };
        match self.query(query).await {
            Some(Reply::Value(None)) => Ok(Claim::First),
            Some(Reply::Value(Some(value))) => Ok(match value.split_first() {
                Some((&SETTLED, answer)) => Claim::Settled(value.slice_ref(answer)),
                _ => Claim::Running,
            }),
            _ => Err(Unavailable(
                "Redis is away, so it cannot be told whether this is a retry: nothing was published, retry"
                    .to_owned(),
            )),
        }
    }

    /// Says what became of it; see [`publish::Dispatch::settle`]. Without Redis the claim runs out by itself.
    pub(super) async fn settle(&self, key: IdempotencyKey, answer: Option<Bytes>, window: Duration) {
        let key = self.claim_key(key);
        let query = match answer {
            Some(answer) => {
                let value = [&[SETTLED], &answer[..]].concat().into();
                Query::Set { key, value, ttl_ms: ms(window) }
            }
            None => Query::Delete(key),
        };
        self.query(query).await;
    }

    async fn query(&self, query: Query) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        self.commands().send(ClusterCommand::Query(query, reply)).await.ok()?;
        answer.await.ok()?
    }

    fn claim_key(&self, key: IdempotencyKey) -> Bytes {
        format!("{}-roomcast-publish:{}", self.prefix, key.to_hex()).into()
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
