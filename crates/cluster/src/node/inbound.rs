//! What comes from the channels.

use std::time::Instant;

use adapter::sharded::{self, Content};
use adapter::{Broadcast, ClassicChannel, RequestId, Uid, WireFault, classic};
use bytes::Bytes;
use socketio::NamespaceName;

use super::{ASKERS, Channels, Node};
use crate::config::{Family, ListenMode};
use crate::io::{Happening, Output, ShardSet, only_room};
use crate::wanted::Role;

/// Who wants to know how far a broadcast gets here, and by which name.
type Asker = Option<(Uid, RequestId)>;

impl Node {
    /// A message has come on a channel; for a pattern, the channel that it was published on.
    ///
    /// What cannot be understood is counted and skipped: whoever can publish to Redis can write anything.
    pub fn handle_message(&mut self, channel: &[u8], payload: Bytes, now: Instant) {
        // Half of what a node hears where all have members of all rooms. Nothing but broadcasts begins like one.
        if self.config.family == Family::Classic && classic::is_from(&payload, &self.uid) {
            self.stats.echoes += 1;
            return;
        }
        let Some(found) = self.wanted.find(channel) else {
            return self.handle_matched(channel, &payload, now);
        };
        let (namespace, role, holders) = (found.namespace.clone(), found.role.clone(), found.holders);
        let handled = match (self.config.family, role) {
            (_, Role::Presence) => Ok(()),
            (_, Role::Reports) => self.handle_report(&payload),
            (Family::Sharded(_), role) => self.handle_sharded(&namespace, &role, holders, &payload, now),
            (Family::Classic, Role::Requests) => self.handle_request(&namespace, &payload, now),
            (Family::Classic, Role::Responses) => self.handle_response(&payload),
            (Family::Classic, role) => self.handle_broadcast(&namespace, &role, holders, &payload, now),
        };
        if let Err(fault) = handled {
            self.skip(channel, &namespace, fault);
        }
    }

    /// A message on a channel that was not asked for by name: a pattern's, or one just given back.
    fn handle_matched(&mut self, channel: &[u8], payload: &[u8], now: Instant) {
        if self.config.family != Family::Classic || self.config.listen != ListenMode::Pattern {
            return;
        }
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        // Requests and answers on their way when their channel was given back have other forms.
        let is_for_broadcasts = |rest: &str| rest.starts_with('#');
        if !channel.strip_prefix(&*self.config.prefix).is_some_and(is_for_broadcasts) {
            return;
        }
        // Several patterns may match: the packet says which namespace it is for, as it does for Node.
        if let Err(fault) = self.handle_broadcast_matched(channel, payload, now) {
            self.skip(channel.as_bytes(), &NamespaceName::main(), fault);
        }
    }

    fn handle_broadcast_matched(
        &mut self,
        channel: &str,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), WireFault> {
        let (broadcast, asker) = self.read_broadcast(payload)?;
        let Some(namespace) = self.namespaces.get(&broadcast.namespace) else { return Ok(()) };
        let Channels::Classic(channels) = &*namespace.channels else { return Ok(()) };
        if let Some(ClassicChannel::Namespace | ClassicChannel::Room(_)) = channels.parse(channel) {
            let holders = namespace.holders;
            self.deliver_to(holders, broadcast, asker, now);
        }
        Ok(())
    }

    fn handle_broadcast(
        &mut self,
        namespace: &NamespaceName,
        role: &Role,
        holders: ShardSet,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), WireFault> {
        let (broadcast, asker) = self.read_broadcast(payload)?;
        // Node ignores what names another namespace than the channel's.
        if *namespace != broadcast.namespace {
            return Ok(());
        }
        self.deliver_from(role, holders, broadcast, asker, now);
        Ok(())
    }

    fn read_broadcast(&self, payload: &[u8]) -> Result<(Broadcast, Asker), WireFault> {
        let inbound = classic::decode_broadcast(payload, &self.config.decode_limits)?;
        Ok((inbound.broadcast, inbound.uid.zip(inbound.flags.report_id)))
    }

    fn deliver_from(
        &mut self,
        role: &Role,
        holders: ShardSet,
        broadcast: Broadcast,
        asker: Asker,
        now: Instant,
    ) {
        // The channel is a filter; whom a message is for is said inside, and only then can it be narrowed down.
        let is_for_the_room =
            matches!((role, only_room(&broadcast)), (Role::Room(room), Some(only)) if room == only);
        let shards = match is_for_the_room {
            true => holders,
            false => self.namespaces.get(&broadcast.namespace).map_or(holders, |found| found.holders),
        };
        self.deliver_to(shards, broadcast, asker, now);
    }

    fn deliver_to(&mut self, mut shards: ShardSet, broadcast: Broadcast, asker: Asker, now: Instant) {
        shards.remove(ASKERS);
        match asker {
            Some(asker) => self.deliver_reporting(shards, broadcast, asker, now),
            None => self.deliver(shards, broadcast),
        }
    }

    pub(super) fn deliver(&mut self, shards: ShardSet, broadcast: Broadcast) {
        if !shards.is_empty() {
            self.stats.delivered += 1;
            self.outputs.push_back(Output::Deliver(shards, broadcast));
        }
    }

    fn handle_sharded(
        &mut self,
        namespace: &NamespaceName,
        role: &Role,
        holders: ShardSet,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), WireFault> {
        let message = sharded::decode(payload, &self.config.decode_limits)?;
        if message.uid == self.uid {
            self.stats.echoes += 1;
            return Ok(());
        }
        if message.namespace != *namespace {
            return Ok(());
        }
        match message.content {
            Content::Broadcast { targets, delivery, event, flags, request_id: None } => {
                let asker = flags.report_id.map(|id| (message.uid, id));
                let broadcast = Broadcast { namespace: message.namespace, targets, delivery, event };
                self.deliver_from(role, holders, broadcast, asker, now);
            }
            content => match &message.from {
                Some(_) => self.handle_sharded_answer(content, message.from),
                None => self.handle_sharded_request(&message.uid, namespace, content, now),
            },
        }
        Ok(())
    }

    fn skip(&mut self, channel: &[u8], namespace: &NamespaceName, fault: WireFault) {
        self.stats.undecodable += 1;
        let channels = self.channels(namespace);
        // Rooms are not for logs.
        let channel = match &*channels {
            _ if channel == self.report_channel => String::from_utf8_lossy(channel).into_owned(),
            _ if channel == channels.census().as_bytes() => channels.census().to_owned(),
            Channels::Classic(names) if channel.starts_with(names.response().as_bytes()) => {
                names.response().to_owned()
            }
            Channels::Classic(names) => names.namespace().to_owned(),
            Channels::Sharded(names) => names.main().to_owned(),
        };
        self.outputs.push_back(Output::Happening(Happening::Undecodable { channel, fault }));
    }
}
