// No sticky sessions: nginx deals out every single request to the next of three gateways, and real clients of two
// generations, with polling and with upgrade, notice nothing.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, describe, test } from "node:test";

import { io as io4 } from "socket.io-client";
import io2 from "socket.io-client-2";

import { within } from "../clients/deadline.mjs";
import { startBalanced } from "./kit/balanced.mjs";
import { eventually } from "./kit/eventually.mjs";

const GENERATIONS = { "4.8": io4, 2.5: io2 };
/** Clients at once, of each generation and way. */
const CLIENTS = 10;
/** Acknowledged events of each: with polling, two requests each. */
const EVENTS = 260;
/** What has to pass without a failure. */
const REQUESTS_MIN = 10_000;

describe("three gateways behind a balancer without sticky sessions", () => {
  let balanced;

  before(async () => {
    balanced = await startBalanced();
  });

  after(() => balanced?.stop());

  for (const [generation, io] of Object.entries(GENERATIONS)) {
    test(`${generation} with polling alone: every event is acknowledged, in order`, async () => {
      const clients = Array.from({ length: CLIENTS }, () => connect(io, balanced.url, ["polling"]));
      await Promise.all(clients.map((client) => talk(client, EVENTS)));
      assert.deepEqual(clients.map(({ io: { engine } }) => engine.transport.name), clients.map(() => "polling"));
      await Promise.all(clients.map(leave));
    });

    test(`${generation} with upgrade: every client ends on WebSocket and loses nothing`, async () => {
      for (let round = 0; round < 5; round += 1) {
        const clients = Array.from({ length: CLIENTS }, () => connect(io, balanced.url, ["polling", "websocket"]));
        await Promise.all(clients.map((client) => talk(client, 20)));
        const upgraded = () => clients.every(({ io: { engine } }) => engine.transport.name === "websocket");
        await eventually(upgraded, "all clients are on WebSocket");
        await Promise.all(clients.map((client) => talk(client, 20)));
        await Promise.all(clients.map(leave));
      }
    });
  }

  test(`none of more than ${REQUESTS_MIN} requests has failed, and each gateway had its share`, async () => {
    const requests = balanced.nginx.requests();
    assert.deepEqual(balanced.failed(), []);
    assert.ok(requests.length > REQUESTS_MIN, `${requests.length} requests`);
    const shares = balanced.shares();
    assert.ok(shares.every((share) => share > requests.length / 4), `${shares}`);
    const forwarded = await balanced.sum("roomcast_forwards_total");
    assert.ok(forwarded > requests.length / 2, `${forwarded} of ${requests.length} forwarded`);
    assert.deepEqual(await balanced.failures(), balanced.early);
    const upgrades = await balanced.sum("roomcast_upgrades_total");
    assert.equal(upgrades, 2 * 5 * CLIENTS);
    console.log(`${requests.length} requests, ${forwarded} of them forwarded, ${upgrades} upgrades; none failed`);
  });

  test("what forwarding costs a request (no bound: the figures are for the reader)", async () => {
    const [owner, other] = balanced.gateways;
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const open = await request(agent, owner.port, "GET", "/socket.io/?EIO=4&transport=polling");
    const target = `/socket.io/?EIO=4&transport=polling&sid=${JSON.parse(open.slice(1)).sid}`;
    await request(agent, owner.port, "POST", target, "40");
    await request(agent, owner.port, "GET", target);
    const times = { direct: [], forwarded: [] };
    for (let number = 0; number < 2000; number += 1) {
      const [way, port] = number % 2 ? ["forwarded", other.port] : ["direct", owner.port];
      const started = performance.now();
      assert.equal(await request(agent, port, "POST", target, '42["tick"]'), "ok");
      times[way].push(performance.now() - started);
    }
    agent.destroy();
    const [direct, forwarded] = [times.direct, times.forwarded].map((all) => all.sort((a, b) => a - b));
    const at = (sorted, share) => (1000 * sorted[Math.floor(share * sorted.length)]).toFixed(0);
    for (const share of [0.5, 0.99]) {
      console.log(`a push, p${100 * share}: direct ${at(direct, share)} µs, forwarded ${at(forwarded, share)} µs`);
    }
  });

  test("an owner that is killed costs its clients one reconnect", async () => {
    const clients = Array.from({ length: 12 }, () => connect(io4, balanced.url, ["polling"]));
    await Promise.all(clients.map((client) => talk(client, 1)));
    const lost = clients.map((client) => client.io.engine.id);
    await balanced.gateways[0].kill();
    await balanced.gateways[0].start();
    const back = () => clients.filter(({ connected }) => connected).length === clients.length;
    await eventually(back, "all clients are connected");
    // A client whose owner it was learns it with its poll, and is known anew when it has come back.
    await Promise.all(clients.map((client) => talk(client, 1)));
    const anew = clients.filter((client, index) => client.io.engine.id !== lost[index]).length;
    assert.ok(anew > 0 && anew < clients.length, `${anew} of ${clients.length} had to come back`);
    await Promise.all(clients.map(leave));
  });
});

/** A client on a connection of its own. */
function connect(io, url, transports) {
  return io(url, { transports, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
}

/** Emits `count` events one after the other, each when the one before has been acknowledged. */
async function talk(client, count) {
  if (!client.connected) await within(once(client, "connect"), "connect");
  for (let number = 0; number < count; number += 1) {
    const answer = await within(new Promise((resolve) => client.emit("tick", number, resolve)), `answer ${number}`);
    assert.deepEqual(answer, { status: "ok" });
  }
}

async function leave(client) {
  const gone = once(client, "disconnect");
  client.disconnect();
  await within(gone, "disconnect");
}

function request(agent, port, method, path, body) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ agent, port, host: "127.0.0.1", method, path }, async (answer) => {
      answer.setEncoding("utf8");
      let text = "";
      for await (const part of answer) text += part;
      resolve(text);
    });
    sent.once("error", reject).end(body);
  });
}
