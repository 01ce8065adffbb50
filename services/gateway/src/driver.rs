//! The loop of one shard: wait, feed the shard, write what it produced, wait again.
//!
//! Everything of a shard hangs on one poll: WebSockets, the sockets of HTTP tasks, and a bell for the inbox and for
//! tasks. One turn takes a batch of readiness events and commands, then flushes each connection that has something
//! to write, once.

mod backlog;
pub(crate) mod head;
mod joins;
mod link;
mod links;
mod proxy_header;
mod readiness;
mod report;

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{self, Poll},
    time::{Duration, Instant},
};

use adapter::CallId;
use broker::{ConnectionKey, Dialect, LinkId, Opening, Output, Payload, Publication, Shard};
use engineio::SessionId;
use mio::{Events, Interest, Token, net::TcpListener};
use slab::Slab;
use telemetry::ShardMetrics;
use tokio::sync::{mpsc, oneshot};
use websocket::Inflater;

use self::{
    backlog::Backlog,
    joins::Joins,
    link::Link,
    links::{LinkSink, Polls},
    readiness::{BELL, Readiness},
};
use crate::{
    calls::{Report, Reporter},
    cluster::ClusterCommand,
    context::Context,
    inbox::{Command, NotOpened, PushPermit, Shards},
    tasks::parking,
};

/// Readiness events taken in one turn.
const EVENTS_PER_TURN: usize = 1024;
/// Commands taken in one turn, each publication for one, so that sockets are not starved by publishers.
const COMMANDS_PER_TURN: usize = 256;
/// Connections accepted in one turn, so that a burst of them does not starve those that are open.
const ACCEPTS_PER_TURN: usize = 128;
/// Bytes read from one link in one turn, so that one sender does not starve the others.
const READ_BYTES_PER_TURN: usize = 256 * 1024;
/// The scratch buffer that all links of a shard are read into.
const SCRATCH_BYTES: usize = 64 * 1024;
/// How soon publications that another shard's full inbox did not take are offered again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);
/// How often clients are closed while draining.
const DRAIN_STEP: Duration = Duration::from_millis(50);
/// How long HTTP connections may take to send their last answers.
const HTTP_GRACE: Duration = Duration::from_secs(1);
/// How often gauges that need a walk over all connections are set, and memory of a past crowd is given back.
const GAUGE_PAUSE: Duration = Duration::from_secs(5);

const LISTENER: Token = Token(usize::MAX);

/// Everything that one shard's thread owns.
pub(crate) struct Driver {
    shard: Shard,
    /// The number of this shard in the process.
    number: u8,
    context: Rc<Context>,
    shards: Shards,
    inbox: mpsc::Receiver<Command>,
    /// Whether the inbox may hold commands. If not, the bell is rung when one comes.
    inbox_has_more: bool,
    listener: Option<TcpListener>,
    readiness: Readiness,
    events: Events,
    links: Slab<Link>,
    polls: Polls,
    /// Pushes whose body is still coming; one that is dropped is cut off.
    pushes: HashMap<ConnectionKey, oneshot::Sender<Infallible>>,
    /// Where the answers of calls go.
    calls: HashMap<CallId, Reporter>,
    joins: Joins,
    scratch: Vec<u8>,
    /// What the compressed messages of all links are inflated by.
    inflater: Inflater,
    /// Links with bytes left unread in the last turn, and whether the listener has connections left.
    unread: VecDeque<LinkId>,
    unaccepted: bool,
    /// Links whose other side has ended in this turn.
    ended: Vec<LinkId>,
    /// What other threads have not taken yet. While there is anything, no link is read.
    backlog: Backlog,
    /// Metrics of this shard.
    metrics: Rc<ShardMetrics>,
    received_bytes: u64,
    drain: Option<Drain>,
    /// All clients are gone; HTTP connections may send their last answers until then.
    leaving_at: Option<Instant>,
    gauges_at: Instant,
}

/// Clients are being closed, evenly until then.
#[derive(Clone, Copy, Debug)]
struct Drain {
    until: Instant,
    next: Instant,
}

impl Driver {
    /// Takes over `listener`, which is non-blocking. To be called on the shard's thread.
    ///
    /// # Errors
    /// When the system has no more files or memory for a poll.
    pub(crate) fn new(
        shard: Shard,
        number: u8,
        context: Rc<Context>,
        shards: Shards,
        inbox: mpsc::Receiver<Command>,
        listener: std::net::TcpListener,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let readiness = Readiness::new()?;
        let mut listener = TcpListener::from_std(listener);
        readiness.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            shard,
            number,
            metrics: context.metrics.clone(),
            context,
            shards,
            inbox,
            inbox_has_more: true,
            listener: Some(listener),
            readiness,
            events: Events::with_capacity(EVENTS_PER_TURN),
            links: Slab::new(),
            polls: Polls::default(),
            pushes: HashMap::new(),
            calls: HashMap::new(),
            joins: Joins::default(),
            scratch: vec![0; SCRATCH_BYTES],
            inflater: Inflater::new(),
            unread: VecDeque::new(),
            unaccepted: false,
            ended: Vec::new(),
            backlog: Backlog::default(),
            received_bytes: 0,
            drain: None,
            leaving_at: None,
            gauges_at: now,
        })
    }

    /// Runs until the process drains and all clients are gone.
    ///
    /// # Errors
    /// When the poll itself fails: the shard cannot go on.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let _tasks_are_found = self.readiness.tasks.enter();
        loop {
            let deadline = (!self.has_work_left()).then(|| self.next_deadline());
            self.readiness.wait(&mut self.events, deadline)?;
            let now = Instant::now();
            self.turn(now);
            if self.has_left(now) {
                return Ok(());
            }
        }
    }

    /// Whether the next turn has something to do that no event announces.
    fn has_work_left(&self) -> bool {
        self.unaccepted || self.inbox_has_more || !self.unread.is_empty() && self.backlog.is_empty()
    }

    fn next_deadline(&self) -> Instant {
        let backlog = (!self.backlog.is_empty()).then(|| Instant::now() + BACKLOG_PAUSE);
        let drain = self.drain.map(|drain| drain.next);
        let others = [self.shard.poll_timeout(), parking::next_alarm(), backlog, drain, self.leaving_at];
        others.into_iter().flatten().fold(self.gauges_at, Instant::min)
    }

    /// One turn of the loop.
    fn turn(&mut self, now: Instant) {
        self.offer_backlog();
        if self.backlog.is_empty() {
            for _ in 0..self.unread.len() {
                if let Some(link) = self.unread.pop_front() {
                    self.read_link(link, now);
                }
            }
        }
        self.handle_events(now);
        // What tasks ask for is done in this turn, and what it comes to is theirs before the next wait.
        self.heed_bell();
        self.handle_commands(now);
        self.handle_timeouts(now);
        self.step_drain(now);
        self.flush(now);
        self.heed_bell();
        self.note_occupancy();
        self.report(now);
    }

    /// Runs woken tasks, if the bell was rung for any.
    fn heed_bell(&mut self) {
        if self.readiness.tasks.was_rung() {
            self.readiness.tasks.run();
            self.inbox_has_more = true;
        }
    }

    fn handle_events(&mut self, now: Instant) {
        if std::mem::take(&mut self.unaccepted) {
            self.accept(now);
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                LISTENER => self.accept(now),
                BELL => {}
                Token(parking::FIRST_TOKEN..) => parking::handle_event(event),
                Token(link) => {
                    let link = LinkId(u32::try_from(link).unwrap_or(u32::MAX));
                    if event.is_writable() {
                        self.handle_writable(link);
                    }
                    if event.is_read_closed() || event.is_error() {
                        self.note_hang_up(link);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.handle_readable(link, now);
                    }
                }
            }
        }
        self.events = events;
    }

    fn handle_commands(&mut self, now: Instant) {
        if !self.inbox_has_more {
            return;
        }
        let waker = self.readiness.tasks.waker().clone();
        let mut cx = task::Context::from_waker(&waker);
        let mut done = 0;
        while done < COMMANDS_PER_TURN {
            match self.inbox.poll_recv(&mut cx) {
                Poll::Ready(Some(command)) => {
                    done += command.weight();
                    self.handle_command(command, now);
                }
                // The next one rings. There is always somebody who may send one: this driver does.
                Poll::Pending | Poll::Ready(None) => {
                    self.inbox_has_more = false;
                    return;
                }
            }
        }
    }

    fn handle_readable(&mut self, link: LinkId, now: Instant) {
        if self.backlog.is_empty() {
            self.read_link(link, now);
        } else {
            self.unread.push_back(link);
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        parking::expire(now);
        if self.shard.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        if let Some(at) = self.shard.poll_timeout() {
            self.metrics.timer_lag(now.saturating_duration_since(at));
        }
        let mut expired = Vec::new();
        self.shard.handle_timeouts(now, |link| expired.push(link));
        for link in expired {
            self.expire_link(link, now);
        }
    }

    fn flush(&mut self, now: Instant) {
        // What goes to other threads and nodes is on its way before the sockets here are written to, which takes a
        // millisecond for a room of 1,000.
        self.perform_outputs();
        let registry = self.readiness.registry();
        let mut sink =
            LinkSink { links: &mut self.links, polls: &mut self.polls, registry, lingering: Vec::new() };
        self.shard.flush(&mut sink);
        for link in sink.lingering {
            self.linger(link, now);
        }
        for link in std::mem::take(&mut self.ended) {
            self.release(link);
        }
        self.perform_outputs();
    }

    fn perform_outputs(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            self.perform(output);
        }
        self.offer_backlog();
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Publish(publication) => self.publish(&publication),
            Output::Resume(link) => self.resume(link),
            Output::CutPush(key) => drop(self.pushes.remove(&key)),
            Output::Subscribe(subscription, ticket) => {
                let command = ClusterCommand::Subscribe(self.number, subscription, ticket);
                self.backlog.push_to_cluster(command);
            }
            Output::Unsubscribe(subscription) => {
                self.backlog.push_to_cluster(ClusterCommand::Unsubscribe(self.number, subscription));
            }
            Output::CallAnswered { call, socket, answer } => {
                self.report_call(call, Report::Answer(socket, answer));
            }
            Output::CallLost { call, .. } => self.report_call(call, Report::Lost),
            Output::CallEnded(call) => drop(self.calls.remove(&call)),
            Output::Happening(happening) => self.context.record(&happening),
        }
    }

    /// Hands an event of a client here to the other nodes and shards.
    fn publish(&mut self, publication: &Arc<Publication>) {
        if self.context.cluster.is_some() {
            self.backlog.publish_to_cluster(publication.clone());
        }
        for shard in (0..self.shards.inboxes().len() as u8).filter(|shard| *shard != self.number) {
            self.backlog.publish_to_shard(shard, publication.clone());
        }
    }

    fn offer_backlog(&mut self) {
        self.backlog.offer(&self.shards, self.context.cluster.as_ref());
    }

    fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Deliver(publication, reply) => {
                let reach = self.shard.deliver(&publication);
                answer(reply, reach);
            }
            Command::DeliverAll(publications) => publications.iter().for_each(|publication| {
                self.shard.deliver(publication);
            }),
            Command::DeliverRun(run) => run.iter().for_each(|publication| {
                self.shard.deliver(publication);
            }),
            Command::DeliverArrivals(arrivals) => {
                for arrival in arrivals.iter().filter(|arrival| arrival.shards.contains(self.number)) {
                    self.shard.deliver(&arrival.publication);
                }
            }
            Command::Confirmed(tickets) => {
                tickets.into_iter().for_each(|ticket| self.shard.handle_confirmed(ticket, now));
                self.joins.settle(&self.shard);
            }
            Command::Operate(operation, reply) => {
                let outcome = self.shard.operate(&operation, now);
                self.joins.answer(reply, outcome, self.shard.take_awaiting());
            }
            Command::Call { broadcast, call, deadline, reporter, reply } => {
                let asked = self.shard.call(&broadcast, call, deadline);
                if asked.is_ok_and(|sockets| sockets > 0) {
                    self.calls.insert(call, reporter);
                }
                answer(Some(reply), asked);
            }
            Command::EndCall(call) => self.end_call(call),
            Command::OpenPolling(opening, reply) => {
                answer(Some(reply), self.open_polling(opening, now));
            }
            Command::Disconnect09(sid) => self.shard.disconnect_09(&sid, now),
            Command::Poll { sid, wire, reply } => {
                let poll = self.polls.insert(reply);
                if let Err(refusal) = self.shard.poll(&sid, wire, poll, now) {
                    self.polls.answer(poll, Err(refusal));
                }
            }
            Command::PollLost(sid) => self.handle_poll_lost(&sid, now),
            Command::PushStarted { sid, wire, reply } => {
                let started = self.shard.push_started(&sid, wire, now);
                answer(Some(reply), started.map(|key| self.permit_push(key)));
            }
            Command::Push { key, form, body, reply } => {
                self.pushes.remove(&key);
                self.received_bytes += body.len() as u64;
                answer(Some(reply), self.shard.push(key, form, &body, now));
            }
            Command::PushFailed { key, cut } => {
                self.pushes.remove(&key);
                self.shard.push_failed(key, cut, now);
            }
            Command::CheckUpgrade { sid, wire, reply } => {
                answer(Some(reply), self.shard.check_upgrade(&sid, wire));
            }
            Command::Adopt(adoption) => self.adopt(*adoption, now),
            Command::ServePeer(stream) => self.serve_peer(stream),
            Command::Drain(until) => self.start_drain(until, now),
        }
    }

    fn report_call(&mut self, call: CallId, report: Report) {
        if let Some(reporter) = self.calls.get(&call)
            && reporter.send(report).is_err()
        {
            self.end_call(call);
        }
    }

    fn end_call(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.shard.end_call(call);
    }

    fn open_polling(&mut self, opening: Opening, now: Instant) -> Result<Payload, NotOpened> {
        if self.drain.is_some() {
            return Err(NotOpened::Refused(telemetry::Refusal::Draining));
        }
        self.note_occupancy();
        if self.context.occupancy.is_full_of_sessions() {
            return Err(NotOpened::Refused(telemetry::Refusal::ConnectionLimit));
        }
        if opening.dialect == Dialect::V09 && !self.shard.admit_09(opening.token.as_deref()) {
            return Err(NotOpened::Unauthorized);
        }
        Ok(self.shard.open_polling(opening, now))
    }

    fn permit_push(&mut self, key: ConnectionKey) -> PushPermit {
        let (running, cut) = oneshot::channel();
        self.pushes.insert(key, running);
        PushPermit { key, cut }
    }

    /// Whether the process holds as many connections as it may.
    fn is_full(&self) -> bool {
        self.note_occupancy();
        self.context.occupancy.is_full()
    }

    fn note_occupancy(&self) {
        let counts = self.context.counts();
        counts.links.store(self.links.len(), Ordering::Relaxed);
        counts.sessions.store(self.shard.connection_count(), Ordering::Relaxed);
    }

    fn handle_poll_lost(&mut self, sid: &SessionId, now: Instant) {
        if let Some((key, poll)) = self.shard.waiting_poll(sid)
            && self.polls.is_lost(poll)
        {
            self.polls.forget(poll);
            self.shard.handle_poll_lost(key, poll, now);
        }
    }

    fn start_drain(&mut self, until: Instant, now: Instant) {
        // Connections that the system has accepted for us are served; the port is then closed.
        self.accept(now);
        if let Some(mut listener) = self.listener.take() {
            self.readiness.registry().deregister(&mut listener).ok();
        }
        self.drain = Some(Drain { until, next: now });
        self.context.draining.send_replace(Some(until));
    }

    fn step_drain(&mut self, now: Instant) {
        let Some(drain) = &mut self.drain else { return };
        if drain.next > now {
            return;
        }
        drain.next = now + DRAIN_STEP;
        let left = drain.until.saturating_duration_since(now);
        let steps = (left.as_millis() / DRAIN_STEP.as_millis()).max(1) as usize;
        let count = if left.is_zero() { usize::MAX } else { self.shard.connection_count().div_ceil(steps) };
        self.shard.drain(count, now);
    }

    /// Whether everything is over: all clients are gone, and HTTP connections have sent what they had.
    fn has_left(&mut self, now: Instant) -> bool {
        if self.leaving_at.is_none() && self.is_drained(now) {
            // The last answers of polls are on their way.
            self.context.closing.send_replace(true);
            self.leaving_at = Some(now + HTTP_GRACE);
        }
        self.leaving_at.is_some_and(|at| at <= now || self.context.counts().http.load(Ordering::Relaxed) == 0)
    }

    fn is_drained(&self, now: Instant) -> bool {
        self.drain.is_some_and(|drain| {
            let passing = self.context.passing.get();
            let empty = self.shard.connection_count() == 0 && self.links.is_empty() && passing == 0;
            empty || now >= drain.until + Duration::from_secs(1)
        })
    }
}

/// Answers, unless whoever asked has gone.
fn answer<T>(reply: Option<oneshot::Sender<T>>, value: T) {
    if let Some(reply) = reply {
        reply.send(value).ok();
    }
}
