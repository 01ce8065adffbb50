//! What this shard has for other threads and they have not taken yet, for each in order.

use std::{collections::VecDeque, sync::Arc};

use broker::Publication;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    cluster::{ClusterCommand, ClusterHandle},
    inbox::{Command, RUN_MAX, Run, Shards},
};

/// See the module's documentation. While there is anything, no link is read: so there is never more than one turn
/// produces.
#[derive(Default)]
pub(super) struct Backlog {
    cluster: VecDeque<ClusterCommand>,
    /// By the number of the shard.
    shards: Vec<VecDeque<Command>>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.shards.iter().all(VecDeque::is_empty)
    }

    /// Gives back what a past crowd needed.
    pub(super) fn shrink(&mut self) {
        self.cluster.shrink_to(2 * self.cluster.len());
        self.shards.iter_mut().for_each(|commands| commands.shrink_to(2 * commands.len()));
    }

    pub(super) fn push_to_cluster(&mut self, command: ClusterCommand) {
        self.cluster.push_back(command);
    }

    /// An event of a client here, for the other nodes; those that follow each other become one command.
    pub(super) fn publish_to_cluster(&mut self, publication: Arc<Publication>) {
        match self.cluster.back_mut() {
            Some(ClusterCommand::PublishRun(run)) if run.len() < RUN_MAX => run.push(publication),
            _ => self.cluster.push_back(ClusterCommand::PublishRun(Run::from_iter([publication]))),
        }
    }

    /// The same for another shard.
    pub(super) fn publish_to_shard(&mut self, shard: u8, publication: Arc<Publication>) {
        let place = usize::from(shard);
        if self.shards.len() <= place {
            self.shards.resize_with(place + 1, VecDeque::new);
        }
        let Some(commands) = self.shards.get_mut(place) else { return };
        match commands.back_mut() {
            Some(Command::DeliverRun(run)) if run.len() < RUN_MAX => run.push(publication),
            _ => commands.push_back(Command::DeliverRun(Run::from_iter([publication]))),
        }
    }

    /// Hands over what the others take. A thread that is gone has no use for its own.
    pub(super) fn offer(&mut self, shards: &Shards, cluster: Option<&ClusterHandle>) {
        match cluster {
            Some(cluster) => offer(&mut self.cluster, cluster.commands()),
            None => self.cluster.clear(),
        }
        for (commands, inbox) in self.shards.iter_mut().zip(shards.inboxes()) {
            offer(commands, inbox);
        }
    }
}

/// Hands over what `queue` has room for now.
fn offer<C>(commands: &mut VecDeque<C>, queue: &mpsc::Sender<C>) {
    while let Some(command) = commands.pop_front() {
        if let Err(TrySendError::Full(command)) = queue.try_send(command) {
            return commands.push_front(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use adapter::{Broadcast, Delivery, Event, Targets};
    use engineio::SidKey;
    use socketio::NamespaceName;

    use super::*;

    /// Shards of which only the second and third have an inbox of that many commands that anybody looks at.
    fn shards(inbox_commands: usize) -> (Shards, Vec<mpsc::Receiver<Command>>) {
        let (inboxes, receivers) = (0..3).map(|_| mpsc::channel(inbox_commands)).unzip();
        (Shards::new(inboxes, (1, "n"), SidKey::new(&[7; 32]), 1), receivers)
    }

    fn publication(number: usize) -> Arc<Publication> {
        Arc::new(Publication::new(Broadcast {
            namespace: NamespaceName::main(),
            targets: Targets::default(),
            delivery: Delivery::Reliable,
            event: Event { json: format!("[\"e\",{number}]").into(), attachments: Vec::new() },
        }))
    }

    /// The events of each command that has come.
    fn runs(inbox: &mut mpsc::Receiver<Command>) -> Vec<Vec<String>> {
        let text = |publication: &Arc<Publication>| publication.encoded.text().to_owned();
        std::iter::from_fn(|| inbox.try_recv().ok())
            .map(|command| match command {
                Command::DeliverRun(run) => run.iter().map(text).collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    fn expected(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("42[\"e\",{number}]")).collect()
    }

    #[test]
    fn what_one_turn_publishes_is_one_command_for_each_shard_up_to_the_limit() {
        let (shards, mut inboxes) = shards(8);
        let mut backlog = Backlog::default();
        for number in 0..RUN_MAX + 3 {
            backlog.publish_to_shard(1, publication(number));
            backlog.publish_to_shard(2, publication(number));
        }
        backlog.offer(&shards, None);
        assert!(backlog.is_empty());
        for inbox in &mut inboxes[1..] {
            assert_eq!(runs(inbox), [expected(0..RUN_MAX), expected(RUN_MAX..RUN_MAX + 3)]);
        }
    }

    #[test]
    fn what_a_full_inbox_did_not_take_comes_later_in_its_order_and_keeps_no_other_waiting() {
        let (shards, mut inboxes) = shards(1);
        let mut backlog = Backlog::default();
        backlog.publish_to_shard(1, publication(0));
        backlog.offer(&shards, None);
        backlog.publish_to_shard(1, publication(1));
        backlog.publish_to_shard(2, publication(1));
        backlog.offer(&shards, None);
        assert!(!backlog.is_empty());
        assert_eq!(runs(&mut inboxes[2]), [expected(1..2)]);
        backlog.publish_to_shard(1, publication(2));
        assert_eq!(runs(&mut inboxes[1]), [expected(0..1)]);
        backlog.offer(&shards, None);
        assert!(backlog.is_empty());
        assert_eq!(runs(&mut inboxes[1]), [expected(1..3)]);
    }
}
