//! What nodes ask of each other.

use std::time::Duration;

use adapter::{Action, Argument, Operation, RoomKinds};
use bytes::Bytes;
use cluster::{Ask, Coverage, Family, ListenMode, Part};

use crate::redis::{CLASSIC, DYNAMIC, World, event, namespace, to};

fn world(family: Family) -> World {
    let mut world = World::new(3, family, ListenMode::Exact);
    (0..3).for_each(|member| world.join(member, "lobby", 10));
    world
}

fn operate(action: Action) -> Ask {
    Ask::Operate(Operation { namespace: namespace(), targets: to(&[]), action })
}

fn complete(nodes: u32) -> Part {
    Part::End(Coverage { asked: nodes, answered: nodes, missing: Vec::new() })
}

#[test]
fn all_other_nodes_tell_of_their_sockets_and_the_answer_ends_at_once() {
    for family in [CLASSIC, DYNAMIC] {
        for action in [Action::Count, Action::Identify, Action::Fetch, Action::ListRooms(RoomKinds::Named)] {
            let mut world = world(family);
            let parts = world.ask(0, operate(action.clone()));
            assert_eq!(parts.len(), 3, "{family:?} {action:?} {parts:?}");
            assert_eq!(parts[2], complete(2));
            let Part::Outcome(outcome) = &parts[0] else { panic!("{parts:?}") };
            match action {
                Action::ListRooms(_) => assert_eq!(outcome.rooms.len(), 1),
                _ => assert_eq!(outcome.matched, 1),
            }
        }
    }
}

#[test]
fn deeds_are_done_by_the_others_and_not_by_the_asker_again() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        let action = Action::Join(to(&["x"]).rooms);
        assert_eq!(world.ask(0, operate(action.clone())), [Part::End(Coverage::default())]);
        assert_eq!(world.members[0].acted, []);
        for other in &world.members[1..] {
            assert_eq!(other.acted.iter().collect::<Vec<_>>(), [&action]);
        }
    }
}

#[test]
fn acknowledgements_of_all_clients_come_back_as_their_first_argument() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        let parts = world.ask(0, Ask::Call(event(&[], "[\"q\"]")));
        let acknowledged = |json: &'static str| {
            Part::Acknowledged(Argument {
                json: Bytes::from_static(json.as_bytes()),
                attachments: Vec::new(),
            })
        };
        assert!(parts.contains(&acknowledged("1")) && parts.contains(&acknowledged("2")), "{parts:?}");
        assert_eq!(parts.iter().filter(|part| **part == Part::Called(1)).count(), 2);
        assert_eq!(*parts.last().unwrap(), complete(2));
    }
}

#[test]
fn an_event_for_servers_is_answered_by_gateways_too() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        let event = event(&[], "[\"deploy\",1]").event;
        let ask = Ask::ServerSideEmit { namespace: namespace(), event, acknowledged: true };
        let parts = world.ask(0, ask);
        assert_eq!(parts, [Part::Served(Argument::null()), Part::Served(Argument::null()), complete(2)]);
    }
}

#[test]
fn a_stopped_node_makes_the_answer_partial_and_is_not_waited_for_once_its_lease_is_over() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        world.members[2].is_stopped = true;
        assert_eq!(world.ask(0, operate(Action::Count)).len(), 1, "the stopped node is waited for");
        world.advance(Duration::from_secs(5));
        let partial = Coverage { asked: 2, answered: 1, missing: Vec::new() };
        assert_eq!(world.members[0].parts.last(), Some(&Part::End(partial)));
        world.advance(Duration::from_secs(4));
        // Redis counts its connection still; its lease has run out.
        assert_eq!(world.ask(0, operate(Action::Count)).last(), Some(&complete(1)));
    }
}

#[test]
fn without_redis_the_answer_comes_at_once_and_names_who_is_missing() {
    let mut world = world(CLASSIC);
    world.advance(Duration::from_secs(3));
    world.cut(0);
    let missing = vec!["gateway-1".to_owned(), "gateway-2".to_owned()];
    let nobody = Coverage { asked: 2, answered: 0, missing };
    assert_eq!(world.ask(0, operate(Action::Fetch)), [Part::End(nobody)]);
}

#[test]
fn a_node_that_leaves_is_not_waited_for() {
    let mut world = world(CLASSIC);
    world.members[2].node.leave();
    world.settle();
    world.members[2].is_stopped = true;
    assert_eq!(world.ask(0, operate(Action::Count)).last(), Some(&complete(1)));
}

#[test]
fn a_node_without_sockets_in_the_namespace_hears_the_answers_to_what_it_asks() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = World::new(3, family, ListenMode::Exact);
        (1..3).for_each(|member| world.join(member, "lobby", 10));
        let parts = world.ask(0, operate(Action::Count));
        assert_eq!((parts.len(), parts.last()), (3, Some(&complete(2))), "{family:?}");
        assert_ne!(world.channels(0), [""; 0], "listens for a while");
        // The time of the ask, and the linger.
        world.advance(Duration::from_secs(5 + 1));
        assert_eq!(world.channels(0), [""; 0], "{family:?}");
    }
}

#[test]
fn only_a_node_that_had_sockets_is_known_to_the_others() {
    let mut world = World::new(2, CLASSIC, ListenMode::Exact);
    world.join(1, "lobby", 10);
    assert_eq!(world.ask(0, operate(Action::Count)).last(), Some(&complete(1)));
    world.advance(Duration::from_secs(60));
    assert_eq!(world.known(), ["1"], "whoever only asks keeps no lease");
    world.leave(1, Some("lobby"));
    world.leave(1, None);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.known(), ["1"], "whoever had some goes on to say that it has none");
}
