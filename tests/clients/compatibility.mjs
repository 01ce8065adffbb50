// A reporter of node:test that writes docs/compatibility.md from the tests that ran: which client does what on
// which transport, and the file that proves it. A test takes part by its name, `<version> <parser> <place>
// <transport>: <scenario>`; without a version it is the current one, without a parser the usual.
// From this folder, with all packages installed:
//
//   node --test --test-reporter=./compatibility.mjs --test-reporter-destination=../../docs/compatibility.md \
//     node/scenarios.test.mjs node/msgpack.test.mjs browser/scenarios.test.mjs generations/node.test.mjs \
//     generations/browser.test.mjs generations/mixed.test.mjs generations/socketio-09.test.mjs \
//     generations/socketio-09-browser.test.mjs other-languages/other-languages.test.mjs

import { relative } from "node:path";
import { fileURLToPath } from "node:url";

import { CURRENT } from "./generations/plan.mjs";
import { LANGUAGES } from "./other-languages/plan.mjs";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const NAME = /^(?:(?<version>\d[\d., ]*) )?(?:(?<parser>msgpack) )?(?<place>[a-z]+) (?<transport>[a-z]+): (?<scenario>\w+)$/;
const COLUMNS = ["websocket", "polling", "upgrade", "jsonp"];
const PARSERS = { msgpack: " with socket.io-msgpack-parser" };
const PLACES = { node: "Node", chromium: "Chromium", rust: "Rust", go: "Go", python: "Python" };

const HEAD = `# Clients that work

Written by tests from their own results: \`tests/clients/compatibility.mjs\` says how to run them again. Each row is a
scenario of a test, whose name says what is promised; \`yes\` is a test that passed, \`FAILED\` one that did not, and
\`-\` that the scenario is not run there. \`upgrade\` is polling that moves on to WebSocket.

Clients 1.x and 2.x need \`engine.allow_eio3\`, and 0.9 needs \`engine.allow_socketio_09\`; 1.3 is the one in dpd-clientlib
1.0.0. Clients with \`socket.io-msgpack-parser\` need a gateway with \`client.parser = "msgpack"\`, which serves no others;
\`tests/cluster/msgpack.test.mjs\` has them in one cluster with gateways and Node servers that speak JSON. A date that a
Node server sends is text to them, as to clients with JSON. Two limits are the clients' own, with every server:

- 1.x says the id of the root in every namespace; the server's is \`/chat#\` and that id, as for 2.x.
- 2.x in a browser sends at most about 100 kB of binary in one attachment over JSONP.

What is left out for clients in other languages they cannot do with Node's server either.
`;

/** node:test calls it with all events of a run, and writes what it yields. */
export default async function* reporter(events) {
  const results = [];
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const skipped = data.skip !== undefined || data.todo !== undefined;
    if (data.file && !skipped) {
      results.push({ file: relative(FOLDER, data.file), name: data.name, passed: type === "test:pass" });
    }
  }
  yield render(results);
}

/** The page for `results`, a list of { file, name, passed }, in any order. Other names are passed over. */
export function render(results) {
  const sections = new Map();
  for (const { file, name, passed } of results) {
    const groups = NAME.exec(name)?.groups;
    if (!groups) continue;
    const { version = CURRENT, parser, place, transport, scenario } = groups;
    if (!(place in PLACES)) continue;
    const client = LANGUAGES.find(({ language }) => language === place)?.name ?? "socket.io-client";
    const title = `${client} ${version}${PARSERS[parser] ?? ""} in ${PLACES[place]}`;
    const section = entry(sections, title, () => ({ file, rows: new Map() }));
    entry(section.rows, scenario, () => new Map()).set(transport, passed ? "yes" : "FAILED");
  }
  const titles = [...sections.keys()].sort(byVersion);
  return [HEAD, ...titles.map((title) => sectionText(title, sections.get(title)))].join("\n");
}

function sectionText(title, { file, rows }) {
  const columns = COLUMNS.filter((column) => [...rows.values()].some((row) => row.has(column)));
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const lines = [...rows.keys()].sort().map((scenario) => {
    const cells = columns.map((column) => rows.get(scenario).get(column) ?? "-");
    return line([scenario.replaceAll("_", " "), ...cells]);
  });
  const table = [line(["scenario", ...columns]), line(["scenario", ...columns].map(() => "---")), ...lines];
  return `## ${title}\n\nTested in \`tests/clients/${file}\`.\n\n${table.join("\n")}\n`;
}

/** The clients in JavaScript first, newest first. */
function byVersion(left, right) {
  const others = (title) => !title.startsWith("socket.io-client ");
  return others(left) - others(right) || right.localeCompare(left, "en", { numeric: true });
}

function entry(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}
