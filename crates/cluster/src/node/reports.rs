//! What became of a message at each Roomcast node: asked for with the message itself, so that it keeps its place in
//! the order, and told on a channel of the asker that is listened to all the time, so that nothing has to be waited
//! for before.

use std::time::{Duration, Instant};

use adapter::sharded::{self, Content};
use adapter::{
    Broadcast, Flags, NodeReach, Outcome, Report, RequestId, Uid, WireFault, classic, report_channel,
};
use bytes::Bytes;

use super::asks::{Kind, PendingAsk};
use super::inquiries::{ReplyTo, Subject};
use super::{Channels, INQUIRY_PATIENCE, Node};
use crate::io::{AskId, InquiryId, Output, Part, ShardSet};

impl Node {
    /// Publishes an event that is delivered here by the caller, and asks every Roomcast node how far it got:
    /// [`Part::Reached`] of each, then [`Part::End`], at the latest after `timeout`.
    ///
    /// It goes to the channel of the namespace, so that those without members answer too.
    ///
    /// # Errors
    /// As of [`Self::publish`].
    pub fn publish_reporting(
        &mut self,
        id: AskId,
        broadcast: &Broadcast,
        ticket: Option<u64>,
        timeout: Duration,
        now: Instant,
    ) -> Result<(), WireFault> {
        let request_id = self.draw_request_id();
        let flags = Flags { report_id: Some(request_id.clone()), ..Flags::default() };
        let channels = self.channels(&broadcast.namespace);
        let (channel, payload) = match &*channels {
            Channels::Classic(channels) => {
                (channels.namespace(), classic::encode_broadcast(&self.uid, broadcast, &flags)?)
            }
            Channels::Sharded(channels) => {
                let Broadcast { targets, delivery, event, .. } = broadcast.clone();
                let content = Content::Broadcast { targets, delivery, event, flags, request_id: None };
                (channels.main(), sharded::encode(&self.message(&broadcast.namespace, content))?)
            }
        };
        let mut pending = PendingAsk::new(&broadcast.namespace, request_id, Kind::Publish, now + timeout);
        pending.roll.begin(self.census(&broadcast.namespace));
        self.stats.published += 1;
        let channel = Bytes::copy_from_slice(channel.as_bytes());
        self.outputs.push_back(Output::Publish { channel, payload: payload.into(), ticket });
        match self.can_publish {
            true => self.await_answers(id, pending),
            false => self.end(id, pending),
        }
        Ok(())
    }

    /// What another node says of a message of this one.
    pub(super) fn handle_report(&mut self, payload: &[u8]) -> Result<(), WireFault> {
        let Report { request_id, reach, from } = Report::decode(payload)?;
        self.take_part(&request_id, Some(from), |kind| match kind {
            Kind::Publish => Some(Part::Reached(reach)),
            Kind::Change => {
                let matched = u32::try_from(reach.matched).unwrap_or(u32::MAX);
                Some(Part::Outcome(Outcome { matched, ..Outcome::default() }))
            }
            _ => None,
        });
        Ok(())
    }

    /// A broadcast of another node, which wants to know how far it gets here.
    pub(super) fn deliver_reporting(
        &mut self,
        shards: ShardSet,
        broadcast: Broadcast,
        (asker, request_id): (Uid, RequestId),
        now: Instant,
    ) {
        let reply = Some((request_id, ReplyTo::Report(asker)));
        let until = now + INQUIRY_PATIENCE;
        let inquiry = self.open_inquiry(&broadcast.namespace, Subject::Reach, reply, until);
        match inquiry {
            Some(id) if shards.is_empty() => self.handle_reached(id, NodeReach::default()),
            Some(id) => {
                self.stats.delivered += 1;
                self.outputs.push_back(Output::DeliverReporting(id, shards, broadcast));
            }
            None => self.deliver(shards, broadcast),
        }
    }

    /// How far a broadcast got on the shards of an [`Output::DeliverReporting`].
    pub fn handle_reached(&mut self, id: InquiryId, reach: NodeReach) {
        let Some(inquiry) = self.inquiries.remove(&id) else { return };
        let (request_id, ReplyTo::Report(asker)) = inquiry.into_reply() else { return };
        let channel = report_channel(&self.config.prefix, &asker);
        let report = Report { request_id, reach, from: self.own.clone() };
        self.stats.answered += 1;
        self.send(&channel, report.encode());
    }
}
