// Which client takes part in which scenario on which transport: the suites run this plan, and the table in
// docs/compatibility.md is held against it.

import { USUAL } from "../runner.mjs";
import { SCENARIOS } from "../scenarios.mjs";
import { GENERATION_SCENARIOS } from "./scenarios.mjs";

/** The version that the suites outside of this folder run with. */
export const CURRENT = "4.8.4";

/** Old versions with the name of their package here, and the revision of Engine.IO they speak. */
export const GENERATIONS = [
  { version: "4.0.0", module: "socket.io-client-4.0", speaks: 4 },
  { version: "3.1.3", module: "socket.io-client-3.1", speaks: 4 },
  { version: "2.5.0", module: "socket.io-client-2.5", speaks: 3 },
  { version: "2.0.4", module: "socket.io-client-2.0", speaks: 3 },
  { version: "1.7.4", module: "socket.io-client-1.7", speaks: 3 },
  // As dpd-clientlib 1.0.0 carries it, a script for pages.
  { version: "1.3", module: "./client-1.3.cjs", bundle: "dpd-clientlib/clib", speaks: 3 },
];

/** Old versions that run in Chromium too, with their bundle served by the gateway. */
export const IN_CHROMIUM = GENERATIONS.filter(({ version }) => ["2.5.0", "1.7.4", "1.3"].includes(version));

/** Scenarios of ../scenarios.mjs that use nothing but what every generation has. */
const COMMON = [
  "ends_on_the_transport_it_asked_for",
  "loses_nothing_while_it_upgrades",
  "event_is_acknowledged",
  "join_without_a_room_is_refused",
  "event_reaches_the_others_of_its_room_only",
  "left_room_is_silent",
  "published_messages_keep_their_order",
  "rooms_are_a_union_without_duplicates_minus_except",
  "volatile_publish_arrives_at_an_idle_client_at_most_once",
  "comes_back_after_the_server_did",
  "events_emitted_while_away_are_sent_on_return",
];

/** What `generation` does on `transport`, as scenarios. */
export function scenariosFor(generation) {
  const common = COMMON.map((name) => {
    const scenario = SCENARIOS.find((each) => each.name === name);
    if (!scenario) throw new Error(`scenarios.mjs has no ${name}`);
    return scenario;
  });
  const own = GENERATION_SCENARIOS.filter(({ speaks }) => (speaks ?? generation.speaks) === generation.speaks);
  return [...common, ...own];
}

/** What scenarios have to know of a client, as the fields of their context. */
export function traits({ version, speaks }, transport) {
  // 1.3 is the script for pages everywhere. What upgrades goes on with the base64 that it asked for while it polled.
  const fewBytes = transport === "jsonp" || (version === "1.3" && transport !== "websocket");
  return { speaks, fewBytes, knowsIds: !version.startsWith("1.") };
}

/** Transports of a generation in Chromium: revision 3 has JSONP beside the usual ones. */
export const CHROMIUM_TRANSPORTS = [...USUAL, "jsonp"];

/** Who chats in one room, over which transports, in which test. */
export const MIXED = [CURRENT, "2.5.0", "1.7.4", "1.3"];
export const MIXED_TRANSPORTS = ["websocket", "polling"];
export const MIXED_SCENARIO = "chat_in_one_room";

/** What 0.9 does in Node, in a suite of its own: nothing of later clients' API is there. */
export const V09 = {
  file: "generations/socketio-09.test.mjs",
  version: "0.9.17",
  transports: ["websocket", "polling"],
  scenarios: [
    "chats_with_todays_clients_in_one_room",
    "messages_without_a_name_are_the_event_message",
    "binary_arrives_as_the_numbers_of_its_bytes",
    "namespaces_share_a_session_and_nothing_else",
    "wrong_token_is_refused_at_the_handshake",
    "comes_back_after_it_was_cut_off_and_sends_what_it_kept",
    "stays_while_heartbeats_are_answered",
  ],
};

/** What it does in Chromium, as the bundle that servers of its time gave to pages. */
export const V09_PAGE = {
  file: "generations/socketio-09-browser.test.mjs",
  version: "0.9.16",
  transports: ["websocket", "polling", "jsonp"],
  scenarios: [
    "chats_with_todays_clients_in_one_room",
    "answers_what_a_back_end_asks",
    "namespaces_share_a_session_and_nothing_else",
    "stays_away_when_the_server_disconnects_it",
    "chats_from_a_page_of_another_origin",
  ],
};

/** The name of a test here, from which the table in docs/compatibility.md takes its columns. */
export function testName(version, place, transport, scenario) {
  return `${version} ${place} ${transport}: ${scenario}`;
}

/** Every test of a client with a scenario, here and in the folders beside, as { file, name }. */
export function plan() {
  const tests = [];
  const add = (file, version, place, transport, scenario) =>
    tests.push({ file, name: testName(version, place, transport, scenario) });
  for (const transport of USUAL) {
    for (const { name } of SCENARIOS) {
      tests.push({ file: "node/scenarios.test.mjs", name: `node ${transport}: ${name}` });
      tests.push({ file: "node/msgpack.test.mjs", name: `msgpack node ${transport}: ${name}` });
      tests.push({ file: "browser/scenarios.test.mjs", name: `chromium ${transport}: ${name}` });
    }
    for (const generation of GENERATIONS) {
      for (const { name } of scenariosFor(generation)) {
        add("generations/node.test.mjs", generation.version, "node", transport, name);
      }
    }
  }
  for (const generation of IN_CHROMIUM) {
    for (const transport of CHROMIUM_TRANSPORTS) {
      for (const { name } of scenariosFor(generation)) {
        add("generations/browser.test.mjs", generation.version, "chromium", transport, name);
      }
    }
  }
  for (const transport of MIXED_TRANSPORTS) {
    add("generations/mixed.test.mjs", MIXED.join(", "), "node", transport, MIXED_SCENARIO);
  }
  for (const transport of V09.transports) {
    for (const name of V09.scenarios) add(V09.file, V09.version, "node", transport, name);
  }
  for (const transport of V09_PAGE.transports) {
    for (const name of V09_PAGE.scenarios) add(V09_PAGE.file, V09_PAGE.version, "chromium", transport, name);
  }
  return tests;
}
