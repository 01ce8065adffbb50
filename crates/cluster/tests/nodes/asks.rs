//! What nodes ask of each other.

use std::time::Duration;

use adapter::{Action, Argument, Extent, NodeReach, Operation, RoomKinds};
use bytes::Bytes;
use cluster::{Ask, AskId, Coverage, Family, ListenMode, Part};
use socketio::SocketId;

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
        let ask = Ask::Act(Operation { namespace: namespace(), targets: to(&[]), action: action.clone() });
        assert_eq!(world.ask(0, ask), [Part::End(Coverage::default())]);
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
        let acknowledged = |number: usize| Part::Acknowledged {
            argument: Argument { json: Bytes::from(number.to_string()), attachments: Vec::new() },
            socket: Some(SocketId::new(format!("socket-{number}"))),
            node: format!("gateway-{number}").into(),
        };
        assert!(parts.contains(&acknowledged(1)) && parts.contains(&acknowledged(2)), "{parts:?}");
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
        let served = |node: &str| Part::Served { argument: Argument::null(), node: node.into() };
        assert_eq!(parts, [served("gateway-1"), served("gateway-2"), complete(2)]);
    }
}

#[test]
fn a_stopped_node_makes_the_answer_partial_and_is_not_waited_for_once_its_lease_is_over() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        world.members[2].is_stopped = true;
        assert_eq!(world.ask(0, operate(Action::Count)).len(), 1, "the stopped node is waited for");
        world.advance(Duration::from_secs(5));
        let partial = Coverage { asked: 2, answered: 1, missing: vec!["gateway-2".into()] };
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

#[test]
fn all_nodes_tell_how_far_a_message_got_also_those_without_members_of_its_room() {
    for (family, listen) in
        [(CLASSIC, ListenMode::Exact), (CLASSIC, ListenMode::Pattern), (DYNAMIC, ListenMode::Exact)]
    {
        let mut world = World::new(4, family, listen);
        (0..3).for_each(|member| world.join(member, "lobby", 10));
        world.join(1, "r", 20);
        // The last one has nobody in the namespace, asks and is not asked.
        for asker in [0, 3] {
            let parts = world.publish_reporting(asker, &event(&["r"], "[\"e\"]"));
            let reached = Part::Reached(NodeReach { matched: 2, written: 1, not_ready: 1, queue_full: 0 });
            let nodes = if asker == 0 { 2 } else { 3 };
            let mut expected = vec![reached; nodes];
            expected.push(complete(u32::try_from(nodes).unwrap()));
            assert_eq!(parts, expected, "{family:?} {listen:?}");
        }
    }
}

#[test]
fn a_message_that_is_reported_keeps_its_place_among_others() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        // A node that has nobody in the namespace yet, and listens to nothing there.
        world.leave(0, Some("lobby"));
        world.leave(0, None);
        world.advance(Duration::from_secs(2));
        let (first, second) = (event(&["lobby"], "[\"1\"]"), event(&["lobby"], "[\"2\"]"));
        let (timeout, now) = (Duration::from_secs(5), world.now);
        let node = &mut world.members[0].node;
        node.publish_reporting(AskId(1), &first, None, timeout, now).unwrap();
        node.publish(&second, None).unwrap();
        world.settle();
        assert_eq!(world.members[1].delivered, ["[\"1\"]", "[\"2\"]"], "{family:?}");
    }
}

#[test]
fn deeds_are_told_of_by_each_node_if_somebody_wants_to_know() {
    for family in [CLASSIC, DYNAMIC] {
        for action in [
            Action::Join(to(&["x"]).rooms),
            Action::Leave(to(&["x"]).rooms),
            Action::Disconnect(Extent::Connection),
        ] {
            let mut world = world(family);
            let parts = world.ask(0, operate(action.clone()));
            assert_eq!((parts.len(), parts.last()), (3, Some(&complete(2))), "{family:?} {action:?}");
            assert!(matches!(&parts[0], Part::Outcome(outcome) if outcome.matched == 1), "{parts:?}");
            assert_eq!(world.members[0].acted, [], "the caller has done it here");
            for other in &world.members[1..] {
                assert_eq!(other.acted, std::slice::from_ref(&action));
            }
        }
    }
}

#[test]
fn a_node_that_was_killed_is_named_and_not_waited_for() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        // Redis has seen its connections end; its lease runs on.
        world.kill(2);
        let partial = |answered| Coverage { asked: 2, answered, missing: vec!["gateway-2".into()] };
        let parts = world.publish_reporting(0, &event(&["lobby"], "[\"e\"]"));
        assert_eq!(parts.last(), Some(&Part::End(partial(1))), "{family:?}");
        for action in [Action::Count, Action::Fetch, Action::Leave(to(&["x"]).rooms)] {
            let parts = world.ask(0, operate(action.clone()));
            assert_eq!(parts.last(), Some(&Part::End(partial(1))), "{family:?} {action:?}");
        }
        world.advance(Duration::from_secs(9));
        assert_eq!(world.ask(0, operate(Action::Count)).last(), Some(&complete(1)), "its lease is over");
    }
}

#[test]
fn a_node_whose_lease_runs_out_while_it_is_waited_for_is_named() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = world(family);
        world.members[2].is_stopped = true;
        world.advance(Duration::from_secs(7));
        assert_eq!(world.publish_reporting(0, &event(&["lobby"], "[\"e\"]")).len(), 1, "it is waited for");
        world.advance(Duration::from_secs(3));
        let partial = Coverage { asked: 2, answered: 1, missing: vec!["gateway-2".into()] };
        assert_eq!(world.members[0].parts.last(), Some(&Part::End(partial)), "{family:?}");
    }
}
