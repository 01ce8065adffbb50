// Clients in Rust, Go and Python against the real gateway, on each transport that they have.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { io } from "socket.io-client";

import { PATIENCE_MS, next } from "../deadline.mjs";
import { REPOSITORY } from "../harness.mjs";
import { Gateways, controls } from "../suite.mjs";
import { Client } from "./client.mjs";
import { LANGUAGES, scenariosFor, testName, transportsOf } from "./plan.mjs";

/** Where `cargo xtask test` has put the programs. */
const BIN = process.env.ROOMCAST_OTHER_LANGUAGES ?? join(REPOSITORY, ".cache/other-languages");

const COMMANDS = {
  rust: [join(BIN, "rust/debug/client")],
  go: [join(BIN, "go/client")],
  python: [join(BIN, "python/bin/python"), join(REPOSITORY, "tests/clients/other-languages/python/client.py")],
};

for (const client of LANGUAGES) {
  const command = COMMANDS[client.language];
  describe(`${client.name} ${client.version}`, () => {
    const gateways = new Gateways();
    after(() => gateways.stop());
    for (const transport of transportsOf(client)) {
      for (const scenario of scenariosFor(client, transport)) {
        test(testName(client, transport, scenario.name), async () => {
          assert.ok(existsSync(command[0]), `${command[0]} is missing: cargo xtask test makes it`);
          await run(scenario, command, transport, await gateways.for(scenario.needs ?? "open"));
        });
      }
    }
  });
}

async function run(scenario, command, transport, gateway) {
  const clients = [];
  const peers = [];
  const start = async (options) => {
    const client = new Client(command, { url: gateway.url, transport, namespaces: ["/"], ...options });
    clients.push(client);
    return client;
  };
  const connectOnce = async (options) => {
    const client = await start(options);
    for (const namespace of options?.namespaces ?? ["/"]) {
      await client.next("connected", (each) => each.namespace === namespace);
    }
    return client;
  };
  // The package for Go gets stuck in its own opening, about once in forty times.
  const connect = (options) => connectOnce(options).catch(() => connectOnce(options));
  const peer = async () => {
    const socket = io(gateway.url, { forceNew: true });
    peers.push(socket);
    await next(socket, "connect");
    return socket;
  };
  const connections = (over) => connectionsOver(gateway, over);
  try {
    await scenario.run({ transport, gateway, start, connect, peer, connections, eventually, ...controls(gateway) });
  } finally {
    for (const socket of peers) socket.disconnect();
    await Promise.all(clients.map((client) => client.close()));
  }
}

/** How many sessions the gateway has over a transport, by its metrics. */
async function connectionsOver(gateway, transport) {
  const text = await (await fetch(`${gateway.opsUrl}/metrics`)).text();
  const line = new RegExp(`^roomcast_connections\\{[^}]*transport="${transport}"[^}]*\\} (\\d+)`, "gm");
  return [...text.matchAll(line)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Asks until `holds` or the deadline; a gateway tells nobody when its metrics change. */
async function eventually(holds, what) {
  const until = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > until) throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
