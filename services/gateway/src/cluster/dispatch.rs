//! Where the publish API's calls go: to the shards here, and to the other nodes if there may be any.

use std::sync::Arc;
use std::time::Duration;

use adapter::{Action, Broadcast, Event, Operation, Outcome};
use broker::Publication;
use bytes::Bytes;
use cluster::{Ask, Part};
use publish::{
    CallEvent, CallRefused, Claim, Coverage, Dispatch, HandedOver, IdempotencyKey, Reach, ReachLater,
    Receipt, ReportLevel, ServerAnswer, Unavailable,
};
use socketio::NamespaceName;
use tokio::sync::{mpsc, oneshot};

use super::both::both;
use super::{ClusterCommand, ClusterHandle, PARTS_MAX, Published};
use crate::inbox::Shards;

/// How long other nodes may take to say what became of a message.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// The shards of this process, and the other nodes.
#[derive(Clone)]
pub(crate) struct Nodes {
    pub(crate) shards: Shards,
    /// `None` with the memory adapter.
    pub(crate) cluster: Option<ClusterHandle>,
}

impl Dispatch for Nodes {
    async fn publish(&self, broadcast: Broadcast, report: ReportLevel) -> Result<Receipt, Unavailable> {
        let Some(cluster) = &self.cluster else { return self.shards.publish(broadcast, report).await };
        if !cluster.can_publish() {
            return Err(away());
        }
        let publication = Arc::new(Publication::new(broadcast));
        let (reply, published) = oneshot::channel();
        // Redis first: local fan-out does not wait for it, nor it for local fan-out.
        let (to_redis, parts) = match report {
            ReportLevel::Accepted => (ClusterCommand::Publish(publication.clone(), reply), None),
            ReportLevel::Reach => {
                let (parts, answers) = mpsc::channel(PARTS_MAX);
                let publication = publication.clone();
                (ClusterCommand::PublishReporting(publication, reply, REACH_TIMEOUT, parts), Some(answers))
            }
        };
        let handed = self.shards.deliver(&publication, report, Some((cluster.commands(), to_redis))).await?;
        match published.await {
            Ok(Published::Received) => {
                let reach =
                    |parts| ReachLater::new(async { reach_elsewhere(handed.reach().await, parts).await });
                Ok(Receipt { reach: parts.map(reach) })
            }
            Ok(Published::Refused(why) | Published::Unknown(why)) => Err(Unavailable(why)),
            Err(_) => Err(gone()),
        }
    }

    fn publish_now(&self, broadcasts: Vec<Broadcast>) -> Result<HandedOver, Vec<Broadcast>> {
        let Some(cluster) = &self.cluster else { return self.shards.publish_now(broadcasts) };
        if !cluster.can_publish() {
            // Each is then told why.
            return Err(broadcasts);
        }
        let (reply, faults) = oneshot::channel();
        // Redis first, as for one.
        let to_redis = |messages| ClusterCommand::PublishAll(messages, reply);
        self.shards.deliver_now(broadcasts, Some((cluster.commands(), to_redis)))?;
        Ok(HandedOver::Awaited(faults))
    }

    async fn operate(
        &self,
        operation: Operation,
        wait: Option<Duration>,
    ) -> Result<(Outcome, Coverage), Unavailable> {
        let Some(cluster) = &self.cluster else { return self.shards.operate(operation, wait).await };
        let changes = matches!(operation.action, Action::Join(_) | Action::Leave(_) | Action::Disconnect(_));
        if changes && !cluster.can_publish() {
            return Err(away());
        }
        let request = match wait {
            Some(_) => Ask::Operate(operation.clone()),
            None => Ask::Act(operation.clone()),
        };
        let mut parts = ask(cluster, request, wait.unwrap_or_default()).await?;
        let (mut total, mut coverage) = self.shards.operate(operation, wait).await?;
        while let Some(part) = parts.recv().await {
            match part {
                Part::Outcome(outcome) => total.add(outcome),
                Part::End(others) => add(&mut coverage, others),
                _ => {}
            }
        }
        Ok((total, coverage))
    }

    async fn call(
        &self,
        broadcast: Broadcast,
        timeout: Duration,
    ) -> Result<mpsc::Receiver<CallEvent>, CallRefused> {
        let Some(cluster) = &self.cluster else { return self.shards.call(broadcast, timeout).await };
        if !cluster.can_publish() {
            return Err(away().into());
        }
        let here = self.shards.call(broadcast.clone(), timeout).await?;
        let elsewhere = ask(cluster, Ask::Call(broadcast), timeout).await?;
        Ok(both(here, elsewhere))
    }

    async fn emit_to_servers(
        &self,
        namespace: NamespaceName,
        event: Event,
        wait: Option<Duration>,
    ) -> Result<(Vec<ServerAnswer>, Coverage), Unavailable> {
        let (_, mut coverage) = self.shards.emit_to_servers(namespace.clone(), event.clone(), wait).await?;
        let mut answers = Vec::new();
        let Some(cluster) = &self.cluster else { return Ok((answers, coverage)) };
        if !cluster.can_publish() {
            return Err(away());
        }
        let request = Ask::ServerSideEmit { namespace, event, acknowledged: wait.is_some() };
        let mut parts = ask(cluster, request, wait.unwrap_or_default()).await?;
        while let Some(part) = parts.recv().await {
            match part {
                Part::Served { argument, node } => {
                    answers.push(ServerAnswer { node: node.as_ref().to_owned(), value: argument.json });
                }
                Part::End(others) => add(&mut coverage, others),
                _ => {}
            }
        }
        Ok((answers, coverage))
    }

    async fn claim(&self, key: IdempotencyKey) -> Result<Claim, Unavailable> {
        match &self.cluster {
            Some(cluster) => cluster.claim(key).await,
            None => Ok(Claim::First),
        }
    }

    async fn settle(&self, key: IdempotencyKey, answer: Option<Bytes>, window: Duration) {
        if let Some(cluster) = &self.cluster {
            cluster.settle(key, answer, window).await;
        }
    }
}

/// What became of a message here, and at the other nodes.
async fn reach_elsewhere(mut reach: Reach, mut parts: mpsc::Receiver<Part>) -> Reach {
    while let Some(part) = parts.recv().await {
        match part {
            Part::Reached(there) => {
                reach.sockets_matched = reach.sockets_matched.saturating_add(there.matched);
                reach.sockets_written = reach.sockets_written.saturating_add(there.written);
                let dropped = &mut reach.sockets_dropped;
                dropped.not_ready = dropped.not_ready.saturating_add(there.not_ready);
                dropped.queue_full = dropped.queue_full.saturating_add(there.queue_full);
            }
            Part::End(others) => add(&mut reach.coverage, others),
            _ => {}
        }
    }
    reach
}

/// Adds what is known of the other nodes.
fn add(coverage: &mut Coverage, others: cluster::Coverage) {
    coverage.nodes_asked += others.asked;
    coverage.nodes_answered += others.answered;
    coverage.nodes_missing.extend(others.missing);
}

async fn ask(
    cluster: &ClusterHandle,
    ask: Ask,
    timeout: Duration,
) -> Result<mpsc::Receiver<Part>, Unavailable> {
    let (parts, answers) = mpsc::channel(PARTS_MAX);
    cluster.commands().send(ClusterCommand::Ask(ask, timeout, parts)).await.map_err(|_| gone())?;
    Ok(answers)
}

fn away() -> Unavailable {
    Unavailable("Redis is away, so the other nodes cannot be reached: nothing was published, retry".into())
}

fn gone() -> Unavailable {
    Unavailable("this gateway is shutting down: publish to another one".into())
}
