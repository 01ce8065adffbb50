//! What the calls that publish share: checks, delivery, measuring.

use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use adapter::Broadcast;
use roomcast_proto::v1;
use telemetry::PublishMetrics;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::config::{PublishConfig, size};
use crate::convert;
use crate::dispatch::{Dispatch, ReportLevel};
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
    pub(crate) async fn measured<T>(
        &self,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let started = Instant::now();
        let answer = answer.await;
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        self.metrics.answered(code.into(), started.elapsed());
        answer
    }

    /// Publishes one message that has passed every check, under an id of its own.
    pub(crate) async fn deliver(
        &self,
        broadcast: Broadcast,
        level: ReportLevel,
    ) -> Result<v1::Published, Status> {
        let message_id = next_id().to_string();
        let receipt = self.dispatch.publish(broadcast, level).await?;
        Ok(v1::Published { message_id, reach: receipt.reach.map(convert::reach) })
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
        self.once(key, self.clone().deliver_all(broadcasts, level)).await
    }

    async fn deliver_all(
        self,
        broadcasts: Vec<Broadcast>,
        level: ReportLevel,
    ) -> Result<v1::PublishBatchResponse, Status> {
        let count = broadcasts.len();
        let mut published = Vec::with_capacity(count);
        for (nth, broadcast) in broadcasts.into_iter().enumerate() {
            let answer = self.deliver(broadcast, level).await.map_err(|status| {
                // Named, so that a retry can leave out what its sockets have already seen.
                let text = status.message();
                Status::new(
                    status.code(),
                    format!("messages[{nth}]: {text}; {nth} of {count} were published"),
                )
            })?;
            published.push(answer);
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

/// An id for a message published now. The edge of this crate: the one place that reads the clock.
pub(crate) fn next_id() -> MessageId {
    // A clock before 1970 gives ids that sort first; they stay unique.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    MessageId::new(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), rand::random())
}
