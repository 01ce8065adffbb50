//! What the calls that publish share: checks, delivery, measuring.

use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{iter, vec};

use adapter::{Broadcast, Event};
use bytes::Bytes;
use futures_util::FutureExt as _;
use roomcast_proto::v1;
use telemetry::PublishMetrics;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::config::{PublishConfig, size};
use crate::convert;
use crate::dispatch::{Dispatch, ReachLater, ReportLevel};
use crate::error::{FieldFault, Rule};
use crate::id::MessageId;
use crate::idempotency::{IdempotencyKey, Remembered};

/// What every call needs, in front of one [`Dispatch`].
#[derive(Clone)]
pub(crate) struct Publishing<D> {
    pub(crate) dispatch: D,
    pub(crate) config: Arc<PublishConfig>,
    pub(crate) metrics: Arc<PublishMetrics>,
    /// Publishes that have a name.
    pub(crate) remembered: Remembered,
    /// True once streams have to end.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl<D: Dispatch> Publishing<D> {
    /// Counts and times the answer to one call, or to one message of a stream.
    // No `async fn`: that would hold the future twice, and futures are copied with all they hold.
    pub(crate) fn measured<T>(
        &self,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> impl Future<Output = Result<T, Status>> {
        let started = Instant::now();
        answer.inspect(move |answer| {
            let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
            self.metrics.answered(code.into(), started.elapsed());
        })
    }

    /// Publishes one message that has passed every check, under an id of its own.
    pub(crate) async fn deliver(
        &self,
        broadcast: Broadcast,
        level: ReportLevel,
    ) -> Result<v1::Published, Status> {
        let (mut published, reach) = self.hand_over(broadcast, level).await?;
        if let Some(reach) = reach {
            published.reach = Some(convert::reach(reach.wait().await));
        }
        Ok(published)
    }

    /// The same, up to where the next one may follow: what becomes of it is still to be waited for.
    async fn hand_over(
        &self,
        broadcast: Broadcast,
        level: ReportLevel,
    ) -> Result<(v1::Published, Option<ReachLater>), Status> {
        let message_id = next_id().to_string();
        let receipt = self.dispatch.publish(broadcast, level).await?;
        Ok((v1::Published { message_id, reach: None }, receipt.reach))
    }

    /// Checks what `Publish` and each message of `PublishStream` share.
    pub(crate) fn check(
        &self,
        message: Option<v1::Message>,
        report: i32,
    ) -> Result<(Broadcast, ReportLevel), FieldFault> {
        let level = convert::report(report)?;
        let message = message.ok_or_else(|| FieldFault::new("message", Rule::Required))?;
        let broadcast = convert::broadcast(message, &self.config).map_err(|fault| fault.within("message"))?;
        Ok((broadcast, level))
    }

    /// Checks all messages of a batch, then publishes them in order.
    pub(crate) async fn deliver_batch(
        &self,
        request: v1::PublishBatchRequest,
        caller: &str,
    ) -> Result<v1::PublishBatchResponse, Status> {
        let v1::PublishBatchRequest { messages, idempotency_key, report } = request;
        let key = IdempotencyKey::new(caller, &idempotency_key)?;
        let level = convert::report(report)?;
        let broadcasts = self.check_batch(messages)?;
        // In a place of its own, as are all that have a name: what they hold is large, and copied with their call.
        Box::pin(self.once(key, self.clone().deliver_all(broadcasts, level))).await
    }

    async fn deliver_all(
        self,
        broadcasts: Vec<Broadcast>,
        level: ReportLevel,
    ) -> Result<v1::PublishBatchResponse, Status> {
        let count = broadcasts.len();
        let mut published = Vec::with_capacity(count);
        let mut reaches = Vec::new();
        let mut left = broadcasts.into_iter();
        while left.len() > 0 {
            let part = next_part(&mut left);
            let messages = part.len();
            let part = match level {
                ReportLevel::Accepted => match self.dispatch.publish_now(part) {
                    Ok(()) => {
                        published.extend(new_ids().take(messages).map(accepted));
                        continue;
                    }
                    Err(part) => part,
                },
                ReportLevel::Reach => part,
            };
            for broadcast in part {
                let nth = published.len();
                let (answer, reach) = self.hand_over(broadcast, level).await.map_err(|status| {
                    // Named, so that a retry can leave out what its sockets have already seen.
                    let text = status.message();
                    Status::new(
                        status.code(),
                        format!("messages[{nth}]: {text}; {nth} of {count} were published"),
                    )
                })?;
                published.push(answer);
                reaches.extend(reach);
            }
        }
        // All of them have one, or none.
        for (published, reach) in published.iter_mut().zip(reaches) {
            published.reach = Some(convert::reach(reach.wait().await));
        }
        Ok(v1::PublishBatchResponse { published })
    }

    fn check_batch(&self, messages: Vec<v1::Message>) -> Result<Vec<Broadcast>, FieldFault> {
        let (count, max) = (messages.len(), size(self.config.batch_messages_max));
        if count == 0 {
            return Err(FieldFault::new("messages", Rule::Required));
        }
        if count > max {
            return Err(FieldFault::new("messages", Rule::TooManyEntries { count, max }));
        }
        let check = |(nth, message)| {
            convert::broadcast(message, &self.config)
                .map_err(|fault| fault.within(&format!("messages[{nth}]")))
        };
        messages.into_iter().enumerate().map(check).collect()
    }
}

/// Most messages that are handed over as one, and the bytes that end it: what waits in one place of a queue that
/// counts places.
pub(crate) const PART_MESSAGES_MAX: usize = 64;
pub(crate) const PART_BYTES_MAX: usize = 64 * 1024;

/// The next broadcasts to be handed over as one.
fn next_part(left: &mut vec::IntoIter<Broadcast>) -> Vec<Broadcast> {
    let mut part = Vec::with_capacity(left.len().min(PART_MESSAGES_MAX));
    let mut bytes = 0;
    while part.len() < PART_MESSAGES_MAX
        && bytes < PART_BYTES_MAX
        && let Some(broadcast) = left.next()
    {
        let Event { json, attachments } = &broadcast.event;
        bytes += json.len() + attachments.iter().map(Bytes::len).sum::<usize>();
        part.push(broadcast);
    }
    part
}

/// The answer for a message that is on its way.
pub(crate) fn accepted(id: MessageId) -> v1::Published {
    v1::Published { message_id: id.to_string(), reach: None }
}

/// An id for a message published now.
pub(crate) fn next_id() -> MessageId {
    new_id(unix_ms())
}

/// Ids for messages published now, as one.
pub(crate) fn new_ids() -> impl Iterator<Item = MessageId> {
    let unix_ms = unix_ms();
    iter::repeat_with(move || new_id(unix_ms))
}

fn new_id(unix_ms: u64) -> MessageId {
    // Drawn as one number, not as ten of a byte each.
    let [random @ .., _, _, _, _, _, _] = rand::random::<u128>().to_ne_bytes();
    MessageId::new(unix_ms, random)
}

/// The edge of this crate: the one place that reads the clock.
fn unix_ms() -> u64 {
    // A clock before 1970 gives ids that sort first; they stay unique.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
