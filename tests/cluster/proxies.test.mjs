// Who a client is behind real balancers: nginx, which speaks HTTP and writes X-Forwarded-For, and HAProxy, which passes bytes on
// behind a PROXY header. Clients come from addresses of loopback other than the balancer's own.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, describe, test } from "node:test";

import { io } from "socket.io-client";

import { within } from "../clients/deadline.mjs";
import { startGateway } from "../clients/harness.mjs";
import { eventually } from "./kit/eventually.mjs";
import { startHaproxy } from "./kit/haproxy.mjs";
import { startNginx } from "./kit/nginx.mjs";

/** Sessions that one address may have. */
const SESSIONS = 3;

const WAYS = {
  "nginx, X-Forwarded-For": { protocol: "off", start: (port) => startNginx([port]) },
  "HAProxy, PROXY version 1": { protocol: "v1", start: (port) => startHaproxy(port, "send-proxy") },
  "HAProxy, PROXY version 2": { protocol: "v2", start: (port) => startHaproxy(port, "send-proxy-v2") },
};

for (const [name, { protocol, start }] of Object.entries(WAYS)) {
  describe(`a gateway behind ${name}`, () => {
    let gateway, balancer;

    before(async () => {
      const env = {
        ROOMCAST__CLIENT__TRUSTED_PROXIES: "127.0.0.1",
        ROOMCAST__CLIENT__PROXY_PROTOCOL: protocol,
        ROOMCAST__LIMITS__UNLIMITED_ADDRESSES: "",
        ROOMCAST__LIMITS__CONNECTIONS_PER_ADDRESS: `${SESSIONS}`,
      };
      gateway = await startGateway({ env });
      balancer = await start(gateway.port);
    });

    after(async () => {
      await balancer?.stop();
      await gateway?.stop();
    });

    for (const transport of ["websocket", "polling"]) {
      test(`clients over ${transport} have their own addresses, whatever they say`, async () => {
        const clients = ["127.0.0.2", "127.0.0.3"].map((address) => connect(balancer.url, address, [transport]));
        await Promise.all(clients.map(connected));
        assert.deepEqual(await addresses(gateway), ["127.0.0.2", "127.0.0.3"]);
        await leave(gateway, clients);
      });
    }

    test("an address has as many sessions as it may, and others theirs", async () => {
      const crowd = Array.from({ length: SESSIONS }, () => connect(balancer.url, "127.0.0.4", ["websocket"]));
      await Promise.all(crowd.map(connected));
      const refused = connect(balancer.url, "127.0.0.4", ["websocket"]);
      const [error] = await within(once(refused, "connect_error"), "connect_error");
      assert.equal(error.message, "websocket error");
      refused.disconnect();
      const other = connect(balancer.url, "127.0.0.5", ["websocket"]);
      await connected(other);
      assert.match(gateway.log, /127\.0\.0\.4/);
      await leave(gateway, [...crowd, other]);
    });
  });
}

/** A client on a connection of its own from `address`, which claims to be somebody else. */
function connect(url, address, transports) {
  return io(url, {
    transports,
    forceNew: true,
    reconnection: false,
    agent: new http.Agent({ localAddress: address }),
    extraHeaders: { "X-Forwarded-For": "203.0.113.9" },
  });
}

async function connected(client) {
  if (!client.connected) await within(once(client, "connect"), "connect");
}

/** Ends all clients, and waits until the gateway has forgotten them. */
async function leave(gateway, clients) {
  for (const client of clients) client.disconnect();
  await eventually(async () => (await addresses(gateway)).length === 0, "all sockets are gone");
}

/** The addresses of all sockets of `/`, sorted. */
async function addresses({ grpcAddress }) {
  const answer = await fetch(`http://${grpcAddress}/v1/sockets/fetch`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"targets":{"namespace":"/"}}',
  });
  assert.equal(answer.status, 200, `${answer.status}`);
  const pages = (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return pages.flatMap(({ sockets = [] }) => sockets.map(({ handshake }) => handshake.address)).sort();
}
