//! The workloads of a run, and which servers take part in each.

use anyhow::ensure;

use super::repeats::Repeats;
use crate::{
    publishing::Paced,
    server::Kind,
    workload::{Pace, Readers, Shape, Source, Workload},
};

/// The workloads' names, as the tables show them.
pub(crate) mod names {
    pub(crate) const ROOM_1000: &str = "room of 1,000";
    pub(crate) const ROOM_10000: &str = "room of 10,000";
    pub(crate) const ROOM_1000_BY_8: &str = "room of 1,000, 8 in flight";
    pub(crate) const ROOM_10000_BY_8: &str = "room of 10,000, 8 in flight";
    pub(crate) const ROOM_1000_PACED: &str = "room of 1,000, 50 messages/s";
    pub(crate) const ROOMS: &str = "1,000 rooms of 10";
    pub(crate) const ECHO: &str = "echo, 100 connections";
    pub(crate) const ECHO_1: &str = "echo, 1 connection";
    pub(crate) const CHURN: &str = "connect, handshake, close";
    pub(crate) const POLLING: &str = "room of 1,000, polling";
    pub(crate) const UNARY: &str = "room of 1,000, gRPC unary";
    pub(crate) const STREAM: &str = "room of 1,000, gRPC stream";
    pub(crate) const ONE_UNARY: &str = "room of 1, gRPC unary";
    pub(crate) const ONE_BATCH: &str = "room of 1, gRPC batches of 64";
    pub(crate) const ONE_STREAM: &str = "room of 1, gRPC stream, 64 in flight";
    pub(crate) const FLOOD: &str = "publisher and Redis, gRPC stream";
    pub(crate) const ANSWERS: &str = "rooms of 1, 2,000 unary/s; a room of 1,000, 20/s";
    pub(crate) const STALLED: &str = "room of 10,000, 4 messages/s";
    pub(crate) const IDLE_10000: &str = "idle, 10,000 connections";
    pub(crate) const IDLE_18000: &str = "idle, 18,000 connections";
    pub(crate) const CLUSTER_ROOM: &str = "2 nodes, room of 1,000";
    pub(crate) const CLUSTER_ROOM_BY_8: &str = "2 nodes, room of 1,000, 8 in flight";
    pub(crate) const CLUSTER_ROOMS: &str = "2 nodes, 200 rooms of 10, 32 in flight";
    pub(crate) const CLUSTER_PACED: &str = "2 nodes, room of 1,000, 50 messages/s";
    pub(crate) const RESTORED: &str = "2 nodes, 50,000 subscriptions cut";
}

/// Members of the one room, for the curve of cost per delivery. Two of its points are workloads of their own.
pub(crate) const MEMBERS: [(&str, u32); 4] = [
    ("curve, room of 10", 10),
    ("curve, room of 100", 100),
    (names::ROOM_1000, 1_000),
    (names::ROOM_10000, 10_000),
];

/// Connections, of which 1,000 are in the room.
pub(crate) const CONNECTIONS: [(&str, u32); 4] = [
    (names::ROOM_1000, 1_000),
    ("curve, 5,000 connections", 5_000),
    ("curve, 10,000 connections", 10_000),
    ("curve, 18,000 connections", 18_000),
];

/// A workload of the run.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) measured: Measured,
    pub(crate) kinds: &'static [Kind],
    pub(crate) nodes: usize,
    /// Part of a quick run.
    pub(crate) is_fast: bool,
    pub(crate) repeats: Repeats,
    /// Messages, requests or cycles of which instructions are counted.
    pub(crate) counted: Option<u32>,
    /// Whether the gateway's time is looked up in the kernel, too.
    pub(crate) is_profiled: bool,
}

/// What is done, and which figures it gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measured {
    /// As fast as it goes: rates and times.
    Speed(Workload),
    /// On a fixed schedule: latencies.
    Latency { workload: Workload, messages: u32 },
    /// The same twice, the second time beside a member that reads nothing.
    Stalled { workload: Workload, with_stalled: Workload, messages: u32 },
    /// Nothing but heartbeats: memory.
    Idle { connections: u32 },
    /// Messages over one stream through a publisher without sockets: how many it takes.
    Flood { messages: u32 },
    /// Unary calls on a fixed schedule: how soon they are answered.
    Answers(Paced),
    /// Subscriptions that are cut: the time until they are back.
    Restored { rooms: u32 },
}

const EVERY: &[Kind] = &Kind::ALL;
const SOCKET_IO: &[Kind] = &[Kind::Gateway, Kind::Bare, Kind::Socketioxide, Kind::Node];
const POLLED: &[Kind] = &[Kind::Gateway, Kind::Socketioxide, Kind::Node];
const PLAIN: &[Kind] = &[Kind::Gateway, Kind::Bare, Kind::Socketioxide, Kind::Node, Kind::Centrifuge];
const SERVERS: &[Kind] = &[Kind::Gateway, Kind::Socketioxide, Kind::Node, Kind::Centrifuge];
const OURS: &[Kind] = &[Kind::Gateway];

const SHAPE: Shape = Shape {
    rooms: 1,
    members: 1_000,
    bystanders: 0,
    source: Source::Client,
    readers: Readers::WebSocket,
    pace: Pace::InFlight(1),
};

const fn speed(name: &'static str, shape: Shape, kinds: &'static [Kind]) -> Case {
    let measured = Measured::Speed(Workload::Fanout(shape));
    let repeats = Repeats::AsAsked;
    Case { name, measured, kinds, nodes: 1, is_fast: true, repeats, counted: None, is_profiled: false }
}

/// A room whose cost per delivery is to be that of a bare loop.
const fn close(name: &'static str, shape: Shape, kinds: &'static [Kind]) -> Case {
    Case { repeats: Repeats::Closely, ..speed(name, shape, kinds) }
}

/// All workloads, in the order in which they run.
pub(crate) fn all() -> Vec<Case> {
    let large = Shape { members: 10_000, ..SHAPE };
    let eight = Pace::InFlight(8);
    let mut cases = vec![
        Case { counted: Some(100), is_profiled: true, ..close(names::ROOM_1000, SHAPE, PLAIN) },
        Case { counted: Some(10), is_fast: false, ..close(names::ROOM_10000, large, PLAIN) },
        Case {
            counted: Some(200),
            is_profiled: true,
            ..close(names::ROOM_1000_BY_8, Shape { pace: eight, ..SHAPE }, EVERY)
        },
        Case { is_fast: false, ..close(names::ROOM_10000_BY_8, Shape { pace: eight, ..large }, EVERY) },
        Case {
            counted: Some(2_000),
            ..speed(names::ROOMS, Shape { rooms: 1_000, members: 10, ..SHAPE }, PLAIN)
        },
        other(names::ECHO, Workload::Echo { connections: 100 }, SOCKET_IO, Some(5_000)),
        Case {
            is_fast: false,
            ..other(names::ECHO_1, Workload::Echo { connections: 1 }, SOCKET_IO, Some(2_000))
        },
        other(names::CHURN, Workload::Churn { at_once: 16 }, PLAIN, Some(500)),
        Case {
            is_fast: false,
            ..speed(names::POLLING, Shape { readers: Readers::Polling, ..SHAPE }, POLLED)
        },
        Case { counted: Some(50), ..speed(names::UNARY, Shape { source: Source::Unary, ..SHAPE }, OURS) },
        Case { counted: Some(50), ..speed(names::STREAM, Shape { source: Source::Stream, ..SHAPE }, OURS) },
    ];
    cases.extend(publishing());
    cases.extend(on_schedule());
    cases.extend([(names::IDLE_10000, 10_000), (names::IDLE_18000, 18_000)].map(|(name, connections)| {
        Case {
            measured: Measured::Idle { connections },
            is_fast: false,
            repeats: Repeats::OthersOnce,
            ..speed(name, SHAPE, PLAIN)
        }
    }));
    cases.extend(on_two_nodes());
    let once = |name, shape| Case { is_fast: false, repeats: Repeats::Once, ..speed(name, shape, PLAIN) };
    let members = MEMBERS.map(|(name, members)| once(name, Shape { members, ..SHAPE }));
    let connections = CONNECTIONS
        .map(|(name, connections)| once(name, Shape { bystanders: connections - SHAPE.members, ..SHAPE }));
    for case in members.into_iter().chain(connections) {
        if cases.iter().all(|known| known.name != case.name) {
            cases.push(case);
        }
    }
    cases
}

/// The workloads whose names have some of these words in them, or are one of them; all of them if there are no words.
///
/// # Errors
/// When words are in no name.
pub(crate) fn named(words: &[String]) -> anyhow::Result<Vec<Case>> {
    let mut cases = all();
    let is_name = |words: &String| all().iter().any(|case| case.name == words);
    let fits = |words: &String, name: &str| {
        if is_name(words) { name == words } else { name.to_lowercase().contains(&words.to_lowercase()) }
    };
    for words in words {
        let names = || cases.iter().map(|case| case.name).collect::<Vec<_>>().join("; ");
        ensure!(cases.iter().any(|case| fits(words, case.name)), "no workload is {words:?}, but {}", names());
    }
    cases.retain(|case| words.is_empty() || words.iter().any(|words| fits(words, case.name)));
    Ok(cases)
}

fn other(name: &'static str, workload: Workload, kinds: &'static [Kind], counted: Option<u32>) -> Case {
    Case { measured: Measured::Speed(workload), counted, ..speed(name, SHAPE, kinds) }
}

/// What a publish costs, whose deliveries cost next to nothing.
fn publishing() -> [Case; 5] {
    let case = |name, source, in_flight, messages| Case {
        counted: Some(messages),
        ..speed(name, Shape { members: 1, source, pace: Pace::InFlight(in_flight), ..SHAPE }, OURS)
    };
    let other = |name, measured| Case { measured, ..case(name, Source::Unary, 1, 0) };
    let paced = Paced { rooms: 100, per_second: 2_000, crowded: 1_000, crowded_per_second: 20, seconds: 5 };
    [
        case(names::ONE_UNARY, Source::Unary, 1, 2_000),
        case(names::ONE_BATCH, Source::Batch, 64, 8_000),
        case(names::ONE_STREAM, Source::Stream, 64, 8_000),
        other(names::FLOOD, Measured::Flood { messages: 300_000 }),
        other(names::ANSWERS, Measured::Answers(paced)),
    ]
}

fn on_schedule() -> [Case; 2] {
    let paced = |members, rate, readers| {
        Workload::Fanout(Shape { members, readers, pace: Pace::PerSecond(rate), ..SHAPE })
    };
    let plain = Case { counted: None, ..speed("", SHAPE, PLAIN) };
    let measured = Measured::Latency { workload: paced(1_000, 50.0, Readers::WebSocket), messages: 150 };
    [
        Case { name: names::ROOM_1000_PACED, measured, ..plain.clone() },
        Case {
            name: names::STALLED,
            measured: Measured::Stalled {
                workload: paced(10_000, 4.0, Readers::WebSocket),
                with_stalled: paced(10_000, 4.0, Readers::Stalled),
                messages: 24,
            },
            kinds: SERVERS,
            is_fast: false,
            repeats: Repeats::Once,
            ..plain
        },
    ]
}

fn on_two_nodes() -> [Case; 5] {
    let rooms = Shape { rooms: 200, members: 10, pace: Pace::InFlight(32), ..SHAPE };
    let case = |name, shape| Case { nodes: 2, is_fast: false, ..speed(name, shape, SERVERS) };
    let paced = Workload::Fanout(Shape { pace: Pace::PerSecond(50.0), ..SHAPE });
    [
        Case { counted: Some(100), ..case(names::CLUSTER_ROOM, SHAPE) },
        Case {
            counted: Some(200),
            ..case(names::CLUSTER_ROOM_BY_8, Shape { pace: Pace::InFlight(8), ..SHAPE })
        },
        Case { counted: Some(2_000), ..case(names::CLUSTER_ROOMS, rooms) },
        Case {
            measured: Measured::Latency { workload: paced, messages: 150 },
            ..case(names::CLUSTER_PACED, SHAPE)
        },
        Case {
            measured: Measured::Restored { rooms: 50_000 },
            kinds: OURS,
            repeats: Repeats::Once,
            ..case(names::RESTORED, SHAPE)
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_a_workload_of_its_own() {
        let cases = all();
        let names: HashSet<&str> = cases.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases.len());
        assert!(cases.iter().all(|case| case.kinds.contains(&Kind::Gateway)));
    }

    #[test]
    fn a_name_stands_for_itself_and_other_words_for_all_names_with_them() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            named(&words).map(|cases| cases.iter().map(|case| case.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["room of 1,000"]).unwrap(), [names::ROOM_1000]);
        assert_eq!(names(&["10,000 c", "Echo, 1 "]).unwrap().len(), 3);
        assert_eq!(names(&[]).unwrap().len(), all().len());
        assert!(names(&["rooms of nothing"]).is_err(), "and not an empty run");
    }
}
