//! A call's events from the sockets here and from those of other nodes, as one.

use adapter::Argument;
use cluster::Part;
use publish::{CallAnswer, CallEnd, CallEvent, Coverage};
use tokio::sync::mpsc;

use super::PARTS_MAX;

/// Passes on what comes from either side; the end of both is the end.
pub(super) fn both(
    mut here: mpsc::Receiver<CallEvent>,
    mut elsewhere: mpsc::Receiver<Part>,
) -> mpsc::Receiver<CallEvent> {
    let (events, receiver) = mpsc::channel(PARTS_MAX);
    tokio::spawn(async move {
        let mut merged = Merged::default();
        while merged.is_open() {
            let event = tokio::select! {
                event = here.recv(), if merged.here.is_none() => merged.take_here(event),
                part = elsewhere.recv(), if merged.elsewhere.is_none() => merged.take_elsewhere(part),
            };
            // Whoever does not listen any more has given the call up, here and elsewhere.
            if let Some(event) = event
                && events.send(event).await.is_err()
            {
                return;
            }
            if merged.are_all_asked() && events.send(CallEvent::AllAsked).await.is_err() {
                return;
            }
        }
        events.send(merged.end()).await.ok();
    });
    receiver
}

#[derive(Default)]
struct Merged {
    /// How each side has ended.
    here: Option<(CallEnd, Coverage)>,
    elsewhere: Option<cluster::Coverage>,
    /// Sockets of other nodes that were asked, and answers of theirs.
    asked_elsewhere: u64,
    answered_elsewhere: u64,
    all_asked_here: bool,
    all_asked_elsewhere: bool,
    said_all_asked: bool,
}

impl Merged {
    fn is_open(&self) -> bool {
        self.here.is_none() || self.elsewhere.is_none()
    }

    fn take_here(&mut self, event: Option<CallEvent>) -> Option<CallEvent> {
        match event {
            Some(CallEvent::AllAsked) => self.all_asked_here = true,
            Some(CallEvent::End(end, coverage)) => self.here = Some((end, coverage)),
            None => self.here = Some((CallEnd::Overrun, Coverage::default())),
            event => return event,
        }
        None
    }

    fn take_elsewhere(&mut self, part: Option<Part>) -> Option<CallEvent> {
        match part? {
            Part::Called(clients) => {
                self.asked_elsewhere = self.asked_elsewhere.saturating_add(clients);
                return Some(CallEvent::Asked(clients));
            }
            Part::AllCalled => self.all_asked_elsewhere = true,
            Part::Acknowledged { argument, socket, node } => {
                self.answered_elsewhere += 1;
                let arguments = only(&argument);
                return Some(CallEvent::Answer(CallAnswer {
                    socket,
                    node: node.as_ref().to_owned(),
                    arguments,
                }));
            }
            Part::End(coverage) => self.elsewhere = Some(coverage),
            Part::Outcome(_) | Part::Served { .. } | Part::Reached(_) => {}
        }
        None
    }

    /// True once, when all sides have said whom they asked.
    fn are_all_asked(&mut self) -> bool {
        let all = self.all_asked_here && self.all_asked_elsewhere;
        all && !std::mem::replace(&mut self.said_all_asked, true)
    }

    fn end(self) -> CallEvent {
        let (mut end, mut coverage) = self.here.unwrap_or((CallEnd::Overrun, Coverage::default()));
        if let Some(others) = self.elsewhere {
            let all = others.answered >= others.asked && self.answered_elsewhere >= self.asked_elsewhere;
            if !all && end == CallEnd::All {
                end = CallEnd::Timeout;
            }
            coverage.nodes_asked += others.asked;
            coverage.nodes_answered += others.answered;
            coverage.nodes_missing.extend(others.missing);
        }
        CallEvent::End(end, coverage)
    }
}

/// An array of the one argument that other nodes pass on: the first.
fn only(argument: &Argument) -> Argument {
    let json = [b"[", &argument.json[..], b"]"].concat().into();
    Argument { json, attachments: argument.attachments.clone() }
}
