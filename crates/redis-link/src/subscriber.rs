//! The connection that messages arrive on.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::gathered::Gathered;
use crate::publisher::{READS_PER_TURN, redirection};
use crate::resp::{self, Value};
use crate::slots::slot_of;
use crate::socket::{Incoming, Socket};
use crate::{Event, Kind, LinkFault};

/// Names in one command: Redis does nothing else while it works one off.
const NAMES_PER_COMMAND: usize = 1000;

/// One connection for subscriptions, logged in.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) socket: Socket,
    /// Commands that are not confirmed, oldest first.
    outstanding: VecDeque<Outstanding>,
    /// Shard channels asked for here. Redis ends them by itself when their slot moves.
    shard_channels: HashMap<Bytes, ShardChannel>,
    /// Where probes arrive; empty before a channel is chosen.
    pub(crate) beat: Bytes,
    /// Whether `beat` is in force.
    pub(crate) is_beat_subscribed: bool,
    /// Whether a channel of probes has ever been in force: only then messages are known to arrive.
    pub(crate) is_ready: bool,
    /// When the oldest probe was sent that has had no answer.
    probed_at: Option<Instant>,
}

#[derive(Debug)]
enum Outstanding {
    Subscribe(Kind, VecDeque<Bytes>),
    Unsubscribe(Kind, VecDeque<Bytes>),
    Ping,
}

#[derive(Clone, Copy, Debug, Default)]
struct ShardChannel {
    is_wanted: bool,
    is_confirmed: bool,
    /// Ends of the subscription that were asked for and are not confirmed.
    leaving: u32,
}

/// What came of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Whether a probe came back: the connection works.
    pub(crate) is_alive: bool,
    /// Whether the probes' channel came into force, for the first time.
    pub(crate) is_ready: bool,
}

impl Subscriber {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            outstanding: VecDeque::new(),
            shard_channels: HashMap::new(),
            beat: Bytes::new(),
            is_beat_subscribed: false,
            is_ready: false,
            probed_at: None,
        }
    }

    /// Has probes arrive at `channel`.
    pub(crate) fn subscribe_beat(&mut self, kind: Kind, channel: Bytes) {
        self.is_beat_subscribed = false;
        self.beat = channel.clone();
        self.command(kind, &[channel], true);
    }

    /// The slot of the probes' channel is elsewhere; another channel is to be chosen.
    fn forget_beat(&mut self) {
        self.beat = Bytes::new();
        self.is_beat_subscribed = false;
    }

    /// Subscribes all of `channels`, which for [`Kind::Sharded`] are grouped by slot when `by_slot`.
    pub(crate) fn subscribe(
        &mut self,
        kind: Kind,
        mut channels: Vec<Bytes>,
        by_slot: bool,
        gathered: &mut Gathered,
    ) {
        if kind == Kind::Sharded {
            // A caller that restores everything names also what was not lost.
            channels.retain(|channel| {
                let known = self.shard_channels.entry(channel.clone()).or_default();
                let is_new = !known.is_wanted || known.leaving > 0;
                known.is_wanted = true;
                if !is_new && known.is_confirmed {
                    gathered.events.push_back(Event::Subscribed(channel.clone()));
                }
                is_new
            });
        }
        self.commands(kind, &mut channels, by_slot, true);
    }

    /// Ends the subscriptions of all of `channels`.
    pub(crate) fn unsubscribe(&mut self, kind: Kind, mut channels: Vec<Bytes>, by_slot: bool) {
        if kind == Kind::Sharded {
            for channel in channels.iter() {
                let known = self.shard_channels.entry(channel.clone()).or_default();
                known.is_wanted = false;
                known.is_confirmed = false;
                known.leaving += 1;
            }
        }
        self.commands(kind, &mut channels, by_slot, false);
    }

    fn commands(&mut self, kind: Kind, channels: &mut [Bytes], by_slot: bool, is_subscribe: bool) {
        if !by_slot || kind != Kind::Sharded {
            for chunk in channels.chunks(NAMES_PER_COMMAND) {
                self.command(kind, chunk, is_subscribe);
            }
            return;
        }
        // The names of one SSUBSCRIBE must share a slot in a cluster.
        channels.sort_by_cached_key(|channel| slot_of(channel));
        for group in channels.chunk_by(|a, b| slot_of(a) == slot_of(b)) {
            for chunk in group.chunks(NAMES_PER_COMMAND) {
                self.command(kind, chunk, is_subscribe);
            }
        }
    }

    fn command(&mut self, kind: Kind, channels: &[Bytes], is_subscribe: bool) {
        let verb: &[u8] = match (kind, is_subscribe) {
            (Kind::Exact, true) => b"SUBSCRIBE",
            (Kind::Exact, false) => b"UNSUBSCRIBE",
            (Kind::Pattern, true) => b"PSUBSCRIBE",
            (Kind::Pattern, false) => b"PUNSUBSCRIBE",
            (Kind::Sharded, true) => b"SSUBSCRIBE",
            (Kind::Sharded, false) => b"SUNSUBSCRIBE",
        };
        let out = self.socket.out();
        resp::begin(out, channels.len() + 1);
        resp::bulk(out, verb);
        for channel in channels {
            resp::bulk(out, channel);
        }
        let names = channels.iter().cloned().collect();
        self.outstanding.push_back(match is_subscribe {
            true => Outstanding::Subscribe(kind, names),
            false => Outstanding::Unsubscribe(kind, names),
        });
    }

    /// A probe is sent, through a publisher or by [`ping`](Self::ping).
    pub(crate) fn probed(&mut self, now: Instant) {
        self.probed_at.get_or_insert(now);
    }

    /// When the oldest probe was sent that has had no answer.
    pub(crate) fn oldest_probe(&self) -> Option<Instant> {
        self.probed_at
    }

    /// Asks for a sign of life that no publisher is needed for.
    pub(crate) fn ping(&mut self) {
        resp::command(self.socket.out(), &[b"PING"]);
        self.outstanding.push_back(Outstanding::Ping);
    }

    /// Writes and reads what is possible now.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, gathered: &mut Gathered) -> Result<Turn, LinkFault> {
        let mut turn = Turn::default();
        self.socket.poll_flush(cx)?;
        for _ in 0..READS_PER_TURN {
            match self.socket.poll_fill(cx) {
                Poll::Pending => return Ok(turn),
                Poll::Ready(filled) => filled?,
            }
            while let Some(incoming) = self.socket.next_frame()? {
                match incoming {
                    Incoming::Message { channel, .. } if channel == self.beat => {
                        self.handle_beat(gathered, &mut turn);
                    }
                    Incoming::Message { channel, payload } => {
                        gathered.events.push_back(Event::Message { channel, payload });
                    }
                    Incoming::Value(Value::Push(items)) => self.handle_push(&items, gathered, &mut turn)?,
                    Incoming::Value(Value::Error(answer)) => self.handle_error(&answer, gathered)?,
                    Incoming::Value(_) => match self.outstanding.pop_front() {
                        Some(Outstanding::Ping) => self.handle_beat(gathered, &mut turn),
                        _ => return Err(self.socket.strange("an answer to nothing")),
                    },
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(turn)
    }

    fn handle_beat(&mut self, gathered: &mut Gathered, turn: &mut Turn) {
        turn.is_alive = true;
        if let Some(probed_at) = self.probed_at.take() {
            let elapsed = probed_at.elapsed();
            gathered.stats.heartbeat_rtt_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        }
    }

    fn handle_push(
        &mut self,
        items: &[Value],
        gathered: &mut Gathered,
        turn: &mut Turn,
    ) -> Result<(), LinkFault> {
        let (Some(verb), channel) = (items.first().and_then(Value::as_text), items.get(1)) else {
            return Err(self.socket.strange("a push without a name"));
        };
        let Some(channel) = channel.and_then(Value::as_text) else {
            // Such as `invalidate`, or `unsubscribe` of nothing: not asked for.
            return Ok(());
        };
        let (kind, is_subscribe) = match &verb[..] {
            b"subscribe" => (Kind::Exact, true),
            b"psubscribe" => (Kind::Pattern, true),
            b"ssubscribe" => (Kind::Sharded, true),
            b"unsubscribe" => (Kind::Exact, false),
            b"punsubscribe" => (Kind::Pattern, false),
            b"sunsubscribe" => (Kind::Sharded, false),
            _ => return Ok(()),
        };
        if !is_subscribe && kind == Kind::Sharded && !self.is_expected_end(channel) {
            if *channel == self.beat {
                self.forget_beat();
            } else {
                self.shard_channels.remove(channel);
                lost(channel.clone(), gathered);
            }
            gathered.is_map_stale = true;
            return Ok(());
        }
        self.confirm(kind, is_subscribe)?;
        match is_subscribe {
            true if *channel == self.beat => {
                self.is_beat_subscribed = true;
                turn.is_ready |= !std::mem::replace(&mut self.is_ready, true);
            }
            true => {
                if kind == Kind::Sharded
                    && let Some(known) = self.shard_channels.get_mut(channel)
                {
                    known.is_confirmed = known.leaving == 0;
                }
                gathered.events.push_back(Event::Subscribed(channel.clone()));
            }
            false => gathered.events.push_back(Event::Unsubscribed(channel.clone())),
        }
        Ok(())
    }

    /// Whether the end of a shard channel was asked for; takes note of it.
    fn is_expected_end(&mut self, channel: &Bytes) -> bool {
        let Some(known) = self.shard_channels.get_mut(channel) else { return false };
        if known.leaving == 0 {
            return false;
        }
        known.leaving -= 1;
        if known.leaving == 0 && !known.is_wanted {
            self.shard_channels.remove(channel);
        }
        true
    }

    /// One name of the oldest command is confirmed.
    fn confirm(&mut self, kind: Kind, is_subscribe: bool) -> Result<(), LinkFault> {
        let is_done = match self.outstanding.front_mut() {
            Some(Outstanding::Subscribe(asked, names)) if is_subscribe && *asked == kind => {
                names.pop_front();
                names.is_empty()
            }
            Some(Outstanding::Unsubscribe(asked, names)) if !is_subscribe && *asked == kind => {
                names.pop_front();
                names.is_empty()
            }
            _ => return Err(self.socket.strange("a confirmation of nothing")),
        };
        if is_done {
            self.outstanding.pop_front();
        }
        Ok(())
    }

    /// The oldest command was refused.
    fn handle_error(&mut self, answer: &str, gathered: &mut Gathered) -> Result<(), LinkFault> {
        let code = answer.split(' ').next().unwrap_or_default();
        let is_elsewhere = matches!(code, "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" | "CROSSSLOT");
        match self.outstanding.pop_front() {
            Some(Outstanding::Subscribe(Kind::Sharded, names)) if is_elsewhere => {
                gathered.is_map_stale = true;
                if let Some(hint) = redirection(answer, &self.socket.endpoint).filter(|_| code == "MOVED") {
                    gathered.hints.push(hint);
                }
                for name in names {
                    if name == self.beat {
                        self.forget_beat();
                    }
                    let is_wanted = self.shard_channels.remove(&name).is_some_and(|known| known.is_wanted);
                    if is_wanted {
                        gathered.unplaced.push(name);
                    }
                }
                Ok(())
            }
            // It is not subscribed where its slot is not.
            Some(Outstanding::Unsubscribe(Kind::Sharded, names)) if is_elsewhere => {
                for name in names {
                    self.is_expected_end(&name);
                    gathered.events.push_back(Event::Unsubscribed(name));
                }
                Ok(())
            }
            Some(_) => Err(LinkFault::from_answer(&self.socket.endpoint.to_string(), answer)),
            None => Err(self.socket.strange(format!("an error nobody asked for: {answer}"))),
        }
    }

    /// Ends the connection: which shard channels are not in force any more, confirmed or not.
    pub(crate) fn fail(self) -> Vec<Bytes> {
        self.shard_channels.into_iter().filter(|(_, known)| known.is_wanted).map(|(name, _)| name).collect()
    }
}

/// Tells that a shard channel is not in force any more, together with those that were lost just before.
fn lost(channel: Bytes, gathered: &mut Gathered) {
    match gathered.events.back_mut() {
        Some(Event::Lost(channels)) => channels.push(channel),
        _ => gathered.events.push_back(Event::Lost(vec![channel])),
    }
}
