// The clients of other languages, what each of them has no way to do, and the names of their tests.

import { USUAL } from "../runner.mjs";
import { SCENARIOS } from "./scenarios.mjs";

/**
 * `name` and `version` are the package's; `transports` those it has, if not all; `without` says what it cannot do, with Node's server neither, as transports
 * by scenario.
 */
export const LANGUAGES = [
  {
    language: "rust",
    name: "rust_socketio",
    version: "0.6.0",
    // One attachment is the whole message to it, and one that comes over WebSocket breaks its connection.
    without: { bytes_may_lie_anywhere: USUAL, bytes_are_heard: ["websocket", "upgrade"] },
  },
  {
    language: "go",
    name: "zishang520/socket.io",
    version: "3.0.0",
    // Over polling alone it never sends what it emits; with WebSocket alone it does not come back each time.
    transports: ["websocket", "upgrade"],
    without: { comes_back_after_the_server_did: ["websocket"] },
  },
  {
    language: "python",
    name: "python-socketio",
    version: "5.18.1",
    // Each event is a thread to it.
    without: { published_messages_keep_their_order: USUAL },
  },
];

export function testName({ version, language }, transport, scenario) {
  return `${version} ${language} ${transport}: ${scenario}`;
}

export const FILE = "other-languages/other-languages.test.mjs";

/** Every test of a client of another language, as { file, name }. */
export function plan() {
  return LANGUAGES.flatMap((client) =>
    transportsOf(client).flatMap((transport) =>
      scenariosFor(client, transport).map(({ name }) => ({ file: FILE, name: testName(client, transport, name) })),
    ),
  );
}

export function transportsOf({ transports }) {
  return transports ?? USUAL;
}

export function scenariosFor({ without }, transport) {
  return SCENARIOS.filter(({ name }) => !without[name]?.includes(transport));
}
