//! What reaches whom.

use std::time::Duration;

use adapter::{Subscription, Ticket};
use bytes::Bytes;
use cluster::{Family, Happening, ListenMode, Output};
use socketio::RoomName;

use crate::redis::{CLASSIC, DYNAMIC, World, event, namespace};

const EVERY: [(Family, ListenMode); 3] =
    [(CLASSIC, ListenMode::Exact), (CLASSIC, ListenMode::Pattern), (DYNAMIC, ListenMode::Exact)];

#[test]
fn a_broadcast_reaches_other_nodes_once_and_its_own_never() {
    for (family, listen) in EVERY {
        let mut world = World::new(3, family, listen);
        (0..3).for_each(|member| world.join(member, "r", 10));
        for rooms in [&[][..], &["r"], &["r", "s"]] {
            world.publish(0, &event(rooms, "[\"e\"]"));
        }
        let counts: Vec<_> = world.members.iter().map(|member| member.delivered.len()).collect();
        assert_eq!(counts, [0, 3, 3], "{family:?} {listen:?}");
    }
}

#[test]
fn a_room_without_members_here_costs_nothing() {
    for family in [CLASSIC, DYNAMIC] {
        let mut world = World::new(2, family, ListenMode::Exact);
        world.join(0, "r", 10);
        world.join(1, "s", 10);
        world.publish(0, &event(&["r"], "[\"e\"]"));
        assert_eq!(world.members[1].delivered.len(), 0);
        assert!(world.channels(1).iter().all(|channel| channel != "socket.io#/#r#"));
    }
}

#[test]
fn a_join_is_confirmed_and_a_further_one_too() {
    for (family, listen) in EVERY {
        let mut world = World::new(1, family, listen);
        world.join(0, "r", 10);
        world.join(0, "r", 20);
        assert_eq!(world.members[0].confirmed.iter().copied().collect::<Vec<_>>(), [10, 11, 20, 21]);
    }
}

#[test]
fn joins_while_redis_is_away_do_not_wait_and_are_subscribed_when_it_is_back() {
    let mut world = World::new(2, CLASSIC, ListenMode::Exact);
    world.cut(0);
    assert!(!world.members[0].node.is_complete());
    world.join(0, "r", 10);
    assert_eq!(world.members[0].confirmed.len(), 2);
    world.connect(0);
    assert!(world.members[0].node.is_complete());
    world.publish(1, &event(&["r"], "[\"e\"]"));
    assert_eq!(world.members[0].delivered, ["[\"e\"]"]);
    assert!(world.members[0].happenings.contains(&Happening::Restored { channels: 7 }));
}

#[test]
fn channels_are_given_back_some_time_after_the_last_member_has_left() {
    for (family, listen) in EVERY {
        let mut world = World::new(1, family, listen);
        world.join(0, "r", 10);
        let all = world.channels(0);
        world.leave(0, Some("r"));
        world.leave(0, None);
        assert_eq!(world.channels(0), all, "at once");
        world.advance(Duration::from_millis(999));
        world.join(0, "r", 20);
        world.advance(Duration::from_secs(5));
        assert_eq!(world.channels(0), all, "joined again");
        world.leave(0, Some("r"));
        world.leave(0, None);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.channels(0), [""; 0], "{family:?} {listen:?}");
        assert_eq!(world.members[0].node.stats().wanted, 1, "that of its reports");
    }
}

#[test]
fn bytes_that_mean_nothing_are_counted_and_their_room_is_not_told() {
    let mut world = World::new(1, CLASSIC, ListenMode::Exact);
    world.join(0, "secret", 10);
    for channel in ["socket.io#/#", "socket.io#/#secret#", "socket.io-request#/#", "socket.io-response#/#"] {
        world.carry(&Bytes::from(channel), &Bytes::from_static(b"\xc1 nonsense"));
    }
    world.settle();
    assert_eq!(world.members[0].node.stats().undecodable, 4);
    assert!(!format!("{:?}", world.members[0].happenings).contains("secret"));
}

#[test]
fn lost_channels_are_asked_for_again() {
    let mut world = World::new(2, DYNAMIC, ListenMode::Exact);
    world.join(0, "r", 10);
    world.members[0].node.handle_lost(&[Bytes::from("socket.io#/#r#"), Bytes::from("unknown")]);
    assert!(!world.members[0].node.is_complete());
    world.settle();
    assert!(world.members[0].node.is_complete());
}

#[test]
fn shard_channels_that_nobody_needs_any_more_are_given_back_though_one_master_was_lost() {
    let mut world = World::new(1, DYNAMIC, ListenMode::Exact);
    world.join(0, "lingers", 10);
    world.join(0, "left-meanwhile", 20);
    world.leave(0, Some("lingers"));
    // The connection that stands for the whole is lost, the one with these channels is not.
    world.members[0].node.handle_subscriber_down();
    world.leave(0, Some("left-meanwhile"));
    world.members[0].node.handle_subscriber_up();
    world.settle();
    let left: Vec<String> = world.channels(0).into_iter().filter(|channel| channel.contains('l')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn requests_that_come_when_their_channel_was_given_back_are_no_fault() {
    let mut world = World::new(1, CLASSIC, ListenMode::Pattern);
    world.join(0, "r", 10);
    world.leave(0, Some("r"));
    world.leave(0, None);
    world.advance(Duration::from_secs(1));
    let node = &mut world.members[0].node;
    node.handle_message(b"socket.io-request#/#", Bytes::from_static(b"{\"type\":0}"), world.now);
    assert_eq!(node.stats().undecodable, 0);
}

#[test]
fn a_join_does_not_wait_for_ever_for_a_master_that_is_away_and_the_node_is_incomplete_then() {
    let mut world = World::new(1, DYNAMIC, ListenMode::Exact);
    world.join(0, "r", 10);
    let (now, node) = (world.now, &mut world.members[0].node);
    let room = Subscription { namespace: namespace(), room: Some(RoomName::new("away")) };
    node.subscribe(0, room, Some(Ticket(20)), now);
    node.flush();
    let asked: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    assert!(matches!(asked[..], [Output::Subscribe(..)]), "{asked:?}");
    // A quarter of the lease.
    node.handle_timeouts(now + Duration::from_secs(2));
    node.flush();
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    assert!(outputs.contains(&Output::Confirm(0, vec![Ticket(20)])), "{outputs:?}");
    assert!(!node.is_complete());
    node.handle_subscribed(b"socket.io#/#away#", now);
    assert!(node.is_complete());
}
