//! The connection that commands go out on: pipelined, answered in order.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::dial::neighbour;
use crate::gathered::{Gathered, Moved, PartReply, ShardPublish};
use crate::resp::{self, Value};
use crate::socket::{Incoming, Socket};
use crate::target::Endpoint;
use crate::{Event, LinkFault, Refused, Way};

/// Reads of one turn; after that many the other connections have theirs.
pub(crate) const READS_PER_TURN: usize = 16;

/// One connection for commands, logged in.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Which server, as the link counts them.
    key: usize,
    pub(crate) socket: Socket,
    /// What is on the way or waits to be written, oldest first. As long as the answers that Redis owes: bounded by
    /// the queue's bytes and what the kernel holds.
    pending: VecDeque<Pending>,
    /// Commands given to this connection, and those answered.
    sent: u64,
    answered: u64,
}

/// A command whose answer is awaited.
#[derive(Debug)]
enum Pending {
    Publish(Option<u64>),
    /// Kept whole: a slot that moved leaves it certainly unpublished, and it goes to the new master.
    Shard(ShardPublish),
    Probe(Instant),
    Part {
        id: u64,
        part: usize,
    },
    /// Its answer says nothing.
    Asking,
}

/// What came of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Whether a probe was answered: the connection works.
    pub(crate) is_alive: bool,
}

impl Publisher {
    pub(crate) fn new(key: usize, socket: Socket) -> Self {
        Self { key, socket, pending: VecDeque::new(), sent: 0, answered: 0 }
    }

    /// Appends one PUBLISH or SPUBLISH. A shard publish is `kept` when another master may have to have it.
    pub(crate) fn publish(
        &mut self,
        way: Way,
        publish: ShardPublish,
        kept: bool,
        queue_bytes: usize,
    ) -> Result<(), Refused> {
        let ShardPublish { channel, payload, .. } = &publish;
        if self.socket.queued_bytes() + channel.len() + payload.len() > queue_bytes {
            return Err(Refused::QueueFull);
        }
        let out = self.socket.out();
        let verb: &[u8] = match way {
            Way::Plain => b"*3\r\n$7\r\nPUBLISH\r\n",
            Way::Sharded => b"*3\r\n$8\r\nSPUBLISH\r\n",
        };
        out.extend_from_slice(verb);
        resp::bulk(out, channel);
        resp::bulk(out, payload);
        self.push(if kept { Pending::Shard(publish) } else { Pending::Publish(publish.ticket) });
        Ok(())
    }

    /// Appends one command of a query.
    pub(crate) fn ask(&mut self, id: u64, part: usize, parts: &[&[u8]], is_asking: bool) {
        if is_asking {
            resp::command(self.socket.out(), &[b"ASKING"]);
            self.push(Pending::Asking);
        }
        resp::command(self.socket.out(), parts);
        self.push(Pending::Part { id, part });
    }

    /// Sends a probe: to `channel`, whose subscriber is to see it, or one that is only answered.
    pub(crate) fn probe(&mut self, channel: Option<(Way, &Bytes)>, now: Instant) {
        let out = self.socket.out();
        match channel {
            Some((Way::Plain, channel)) => resp::command(out, &[b"PUBLISH", channel, b""]),
            Some((Way::Sharded, channel)) => resp::command(out, &[b"SPUBLISH", channel, b""]),
            None => resp::command(out, &[b"PING"]),
        }
        self.push(Pending::Probe(now));
    }

    fn push(&mut self, pending: Pending) {
        self.sent += 1;
        self.pending.push_back(pending);
    }

    /// How many commands were given to this connection, and how many of them are answered.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.sent, self.answered)
    }

    /// When the oldest probe without an answer was sent.
    pub(crate) fn oldest_probe(&self) -> Option<Instant> {
        self.pending.iter().find_map(|pending| match pending {
            Pending::Probe(at) => Some(*at),
            _ => None,
        })
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
                    // Nothing is subscribed here; pushes of other kinds concern nobody.
                    Incoming::Message { .. } | Incoming::Value(Value::Push(_)) => {}
                    Incoming::Value(value) => self.handle(value, gathered, &mut turn)?,
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(turn)
    }

    fn handle(&mut self, value: Value, gathered: &mut Gathered, turn: &mut Turn) -> Result<(), LinkFault> {
        let Some(pending) = self.pending.pop_front() else {
            return Err(self.socket.strange("an answer to nothing"));
        };
        self.answered += 1;
        match pending {
            Pending::Asking => {}
            Pending::Probe(_) => match &value {
                // Its slot has moved: the subscriber will hear of it too, and choose another channel.
                Value::Error(answer) if answer.starts_with("MOVED ") => gathered.is_map_stale = true,
                Value::Error(answer) => {
                    return Err(LinkFault::from_answer(&self.socket.endpoint.to_string(), answer));
                }
                _ => turn.is_alive = true,
            },
            Pending::Publish(ticket) => self.published(ticket, &value, gathered),
            Pending::Shard(publish) => match &value {
                Value::Error(answer) if answer.starts_with("MOVED ") => {
                    if let Some((slot, endpoint)) = redirection(answer, &self.socket.endpoint) {
                        gathered.hints.push((slot, endpoint));
                        gathered.moved.push(Moved { slot, publish, from: self.key });
                    } else {
                        self.published(publish.ticket, &value, gathered);
                    }
                }
                _ => self.published(publish.ticket, &value, gathered),
            },
            Pending::Part { id, part } => {
                let from = self.socket.endpoint.clone();
                gathered.replies.push(PartReply { id, part, value: Some(value), from });
            }
        }
        Ok(())
    }

    fn published(&self, ticket: Option<u64>, value: &Value, gathered: &mut Gathered) {
        match (value, ticket) {
            (Value::Error(answer), _) => {
                let address = &self.socket.endpoint;
                gathered.publish_failed(ticket, || LinkFault::from_answer(&address.to_string(), answer));
            }
            (_, Some(ticket)) => {
                let receivers = value.as_count().unwrap_or_default();
                gathered.events.push_back(Event::Published { ticket, result: Ok(receivers) });
            }
            (_, None) => {}
        }
    }

    /// Ends the connection: whatever has no answer will have none.
    pub(crate) fn fail(self, fault: &LinkFault, gathered: &mut Gathered) {
        let from = self.socket.endpoint;
        for pending in self.pending {
            match pending {
                Pending::Asking | Pending::Probe(_) => {}
                Pending::Publish(ticket) | Pending::Shard(ShardPublish { ticket, .. }) => {
                    gathered.publish_failed(ticket, || fault.clone());
                }
                Pending::Part { id, part } => {
                    gathered.replies.push(PartReply { id, part, value: None, from: from.clone() });
                }
            }
        }
    }
}

/// The slot and the address of `MOVED 3999 127.0.0.1:6381` or `ASK …`.
///
/// Source: Redis Cluster specification, redirection and resharding.
pub(crate) fn redirection(answer: &str, teller: &Endpoint) -> Option<(u16, Endpoint)> {
    let mut words = answer.split(' ').skip(1);
    let slot = words.next()?.parse().ok().filter(|slot| *slot < crate::slots::SLOTS)?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    Some((slot, neighbour(host, port.parse().ok()?, teller)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_read() {
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.into(), port };
        let check = |answer: &str, expected: Option<(u16, Endpoint)>| {
            assert_eq!(redirection(answer, &tcp("own", 1)), expected, "{answer}");
        };
        check("MOVED 3999 127.0.0.1:6381", Some((3999, tcp("127.0.0.1", 6381))));
        check("MOVED 3999 ::1:6381", Some((3999, tcp("::1", 6381))));
        check("ASK 0 :6381", Some((0, tcp("own", 6381))));
        check("MOVED 16384 h:1", None);
        check("MOVED 1 h:x", None);
        check("MOVED", None);
    }
}
