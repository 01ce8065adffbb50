//! Every limit stands in the pages with a name, a unit and a default, and is held by tests: at its value, and one over. A new one
//! fails here until it has both.

use std::collections::{BTreeMap, BTreeSet};

use crate::{assert_none, file, files};

/// Limits, by key or by what the pages call them, and the tests that hold them: at the limit, and one over.
const TESTED: [(&str, &str, &str); 40] = [
    (
        "engine.max_payload_bytes",
        "messages_of_the_largest_size_pass_and_one_byte_more_does_not",
        "messages_over_the_limit_close_with_1009_before_they_have_come",
    ),
    (
        "limits.outbox_bytes",
        "a_client_that_takes_nothing_is_closed_at_one_message_over_the_limit_and_others_get_all",
        "clients_that_never_read_are_closed_while_others_get_everything",
    ),
    (
        "limits.connect_timeout_ms",
        "a_connection_that_joins_nothing_is_closed_after_the_connect_timeout",
        "connections_that_never_connect_are_closed_in_time_and_counted",
    ),
    (
        "limits.namespaces_per_connection",
        "a_connection_joins_as_many_namespaces_as_allowed_and_thousands_more_are_refused",
        "one_namespace_too_many_is_refused_and_the_others_stay",
    ),
    (
        "limits.namespace_name_bytes",
        "a_namespace_may_have_a_name_of_so_many_bytes_and_with_one_more_does_not_exist",
        "a_namespace_may_have_a_name_of_so_many_bytes_and_with_one_more_does_not_exist",
    ),
    (
        "limits.rooms_per_socket",
        "a_socket_joins_as_many_rooms_as_allowed_and_thousands_more_are_refused",
        "clients_join_and_leave_what_the_patterns_name",
    ),
    (
        "limits.room_name_bytes",
        "a_room_may_have_a_name_of_so_many_bytes_and_no_more",
        "a_room_may_have_a_name_of_so_many_bytes_and_no_more",
    ),
    (
        "limits.attachments_per_packet",
        "a_packet_may_have_as_many_attachments_as_allowed_and_one_more_closes",
        "attachments_that_do_not_belong_close_their_session_alone",
    ),
    (
        "limits.connections",
        "connections_over_the_limit_get_503_until_another_has_gone",
        "connections_over_the_limit_get_503_until_another_has_gone",
    ),
    (
        "limits.request_timeout_ms",
        "a_waiting_poll_and_a_quiet_websocket_may_take_their_time",
        "a_head_that_comes_in_drops_gains_no_time",
    ),
    (
        "limits.handshake_bytes",
        "a_limit_leaves_out_whole_headers_from_the_end",
        "what_is_kept_of_a_client_is_limited",
    ),
    ("limits.auth_bytes", "what_is_kept_of_a_client_is_limited", "what_is_kept_of_a_client_is_limited"),
    (
        "limits.pending_calls_max",
        "calls_are_limited_in_number_and_one_more_asks_nobody",
        "as_many_calls_wait_for_a_client_as_allowed_and_one_more_is_refused",
    ),
    (
        "limits.packets_per_second",
        "a_websocket_may_send_as_many_packets_at_once_as_its_rate",
        "one_packet_over_the_rate_closes_the_websocket_with_1008",
    ),
    (
        "limits.connections_per_address",
        "one_session_over_those_of_an_address_gets_429_on_either_transport",
        "one_connection_over_those_of_an_address_gets_429_until_another_has_gone",
    ),
    (
        "limits.new_connections_per_address",
        "one_over_the_rate_is_refused_until_time_has_passed",
        "new_connections_of_an_address_over_its_rate_get_429_until_time_has_passed",
    ),
    (
        "limits.ipv6_prefix_bits",
        "ipv6_addresses_count_by_their_prefix",
        "ipv6_addresses_of_one_prefix_are_one_and_mapped_ones_are_ipv4",
    ),
    (
        "limits.unlimited_addresses",
        "addresses_without_limits_and_limits_of_0_have_none",
        "a_range_has_its_first_and_last_address_and_neither_neighbour",
    ),
    (
        "redis.publish_queue_bytes",
        "a_full_queue_refuses_and_then_takes_again",
        "a_full_queue_refuses_and_then_takes_again",
    ),
    (
        "grpc.limits.message_bytes_max",
        "a_message_at_its_limit_passes_and_one_byte_more_does_not",
        "a_message_at_its_limit_passes_and_one_byte_more_does_not",
    ),
    (
        "grpc.limits.request_bytes_max",
        "a_request_over_its_limit_is_refused_unread_and_the_connection_goes_on",
        "a_request_has_its_limit_of_bytes_and_one_more_is_refused",
    ),
    (
        "grpc.limits.batch_messages_max",
        "one_batch_has_its_limit_of_messages_and_one_more_is_refused",
        "one_faulty_message_refuses_the_whole_batch",
    ),
    (
        "grpc.limits.rooms_per_message_max",
        "each_part_of_a_message_passes_at_its_limit_and_one_over_is_refused_by_name",
        "a_broken_rule_is_named_and_nothing_is_published",
    ),
    (
        "grpc.limits.room_bytes_max",
        "each_part_of_a_message_passes_at_its_limit_and_one_over_is_refused_by_name",
        "a_broken_rule_is_named_and_nothing_is_published",
    ),
    (
        "grpc.limits.namespace_bytes_max",
        "each_part_of_a_message_passes_at_its_limit_and_one_over_is_refused_by_name",
        "each_part_of_a_message_passes_at_its_limit_and_one_over_is_refused_by_name",
    ),
    (
        "grpc.limits.attachments_max",
        "each_part_of_a_message_passes_at_its_limit_and_one_over_is_refused_by_name",
        "a_broken_rule_is_named_and_nothing_is_published",
    ),
    (
        "grpc.limits.stream_messages_max",
        "a_slow_dispatch_holds_the_sender_at_the_window",
        "a_caller_that_takes_no_answers_is_not_read_on_and_holds_nothing",
    ),
    (
        "grpc.limits.stream_bytes_max",
        "bytes_on_their_way_hold_the_sender_too",
        "bytes_on_their_way_hold_the_sender_too",
    ),
    (
        "grpc.limits.calls_per_connection_max",
        "one_connection_has_its_limit_of_calls_and_the_next_waits_for_one_to_end",
        "one_connection_has_its_limit_of_calls_and_the_next_waits_for_one_to_end",
    ),
    (
        "grpc.limits.idempotency_window_ms",
        "a_settled_name_is_kept_for_its_window_and_no_longer",
        "a_settled_name_is_kept_for_its_window_and_no_longer",
    ),
    (
        "grpc.limits.idempotency_keys_max",
        "the_oldest_settled_name_makes_room_and_running_ones_do_not",
        "the_oldest_settled_name_makes_room_and_running_ones_do_not",
    ),
    (
        "rate",
        "a_rate_is_held_at_its_burst_and_one_more_is_told_when_to_come_again",
        "a_rate_is_held_at_its_burst_and_one_more_is_told_when_to_come_again",
    ),
    (
        "calls_in_flight_max",
        "calls_in_flight_are_held_at_their_limit_and_one_more_is_refused",
        "calls_in_flight_are_held_at_their_limit_and_one_more_is_refused",
    ),
    (
        "head of a request",
        "a_request_head_may_have_32_kib_and_no_more_over_either_transport",
        "a_request_head_may_have_32_kib_and_no_more_over_either_transport",
    ),
    (
        "headers of a request",
        "a_request_may_have_100_headers_and_no_more",
        "a_request_may_have_100_headers_and_no_more",
    ),
    (
        "packets of one polling body",
        "a_push_may_hold_1024_packets_and_no_more",
        "a_push_may_hold_1024_packets_and_no_more",
    ),
    (
        "arrays and objects in each other, in the data of a packet",
        "json_may_be_128_deep_and_no_deeper",
        "json_may_be_128_deep_and_no_deeper",
    ),
    (
        "PROXY header",
        "a_header_may_be_4096_bytes_long_and_no_byte_longer",
        "malformed_proxy_headers_close_their_connection_without_a_word",
    ),
    (
        "addresses that are counted at once",
        "memory_is_bounded_and_comes_back",
        "memory_is_bounded_and_comes_back",
    ),
    (
        "time in which a client takes nothing of an HTTP answer",
        "a_waiting_poll_and_a_quiet_websocket_may_take_their_time",
        "an_answer_that_is_not_read_is_given_up_after_the_time_of_a_silent_session",
    ),
];

/// The cells of every row of a table behind `heading`, up to the next heading; back quotes left out.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let lines = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows =
        lines.map(|line| line.split(" | ").map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>());
    // The names of the columns, and the line below them.
    rows.filter(|row| !row[0].starts_with("---")).skip(1).collect()
}

/// What one is, of a cell such as `integer, bytes, from 1`.
fn unit(kind: &str) -> Option<&str> {
    match kind.strip_prefix("integer") {
        None => Some(kind),
        Some(rest) => rest.split(", ").nth(1).filter(|unit| !unit.contains(|c: char| c.is_ascii_digit())),
    }
}

/// Whether a key with values of this kind is a limit: by its section, its name, or because it is a largest number of bytes.
fn is_limit(key: &str, kind: &str) -> bool {
    let is_named = key.starts_with("limits.") || key.contains(".limits.") || key.ends_with("_max");
    is_named || unit(kind) == Some("bytes") && !key.ends_with("_min_bytes")
}

#[test]
fn every_limit_is_in_the_readme_with_its_unit_and_default() {
    let page = file("docs/configuration.md");
    let mut faults = Vec::new();
    let mut expected = BTreeMap::new();
    for row in rows(&page, "## Keys") {
        let [key, kind, default, ..] = row.as_slice() else { panic!("{row:?}") };
        if is_limit(key, kind) {
            match unit(kind) {
                Some(unit) => drop(expected.insert(key.clone(), format!("{unit} | {default}"))),
                None => faults.push(format!("{key}: no unit in {kind:?}; allowed: integer, UNIT, range")),
            }
        }
    }
    assert_none(&faults);
    let readme = file("README.md");
    let listed: BTreeMap<_, _> = rows(&readme, "### Limits")
        .into_iter()
        .filter(|row| !row[0].ends_with(" of an identity"))
        .map(|row| (row[0].clone(), format!("{} | {}", row[1], row[2])))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_limit_has_tests_at_it_and_one_over() {
    let page = file("docs/configuration.md");
    let keys = rows(&page, "## Keys").into_iter().filter(|row| is_limit(&row[0], &row[1]));
    let identities = rows(&page, "## Identities of the publish API").into_iter();
    let of_identities = identities.filter(|row| row[0] == "rate" || row[0].ends_with("_max"));
    let fixed = rows(&page, "## Limits that are not settings").into_iter();
    let known: BTreeSet<_> = keys.chain(of_identities).chain(fixed).map(|row| row[0].clone()).collect();
    let tested: BTreeSet<_> = TESTED.iter().map(|(limit, _, _)| (*limit).to_owned()).collect();
    assert_eq!(tested, known, "limits with tests, and limits");

    let sources = files(".rs");
    let is_test = |name: &str| {
        let definition = format!("fn {name}()");
        sources.iter().any(|(_, text)| {
            text.match_indices(&definition).any(|(at, _)| {
                text[..at].trim_end_matches("async ").ends_with("test]\n    ")
                    || text[..at].trim_end_matches("async ").ends_with("test]\n")
            })
        })
    };
    let missing = TESTED.iter().flat_map(|(limit, at, over)| [at, over].map(|name| (limit, name)));
    let missing = missing.filter(|(_, name)| !is_test(name));
    assert_none(
        &missing.map(|(limit, name)| format!("{limit}: there is no test {name}")).collect::<Vec<_>>(),
    );
}

#[test]
fn limits_are_known_by_their_names_and_units() {
    for (key, kind, expected) in [
        ("limits.rooms_per_socket", "integer, rooms", true),
        ("grpc.limits.idempotency_window_ms", "integer, ms, from 1", true),
        ("redis.publish_queue_bytes", "integer, bytes, 1 to 7", true),
        ("adapter.future_max", "integer", true),
        ("client.threshold_min_bytes", "integer, bytes", false),
        ("redis.reconnect_max_ms", "integer, 1 to 3600000, ms", false),
        ("client.path", "path", false),
    ] {
        assert_eq!(is_limit(key, kind), expected, "{key}");
    }
    assert_eq!(
        (unit("integer, bytes, from 1"), unit("integer, 0 to 255"), unit("integer")),
        (Some("bytes"), None, None)
    );
}
