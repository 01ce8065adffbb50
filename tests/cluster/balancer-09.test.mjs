// No sticky sessions for Socket.IO 0.9 either: its real client, whose handshake, polls, pushes and WebSocket each come
// to another of three gateways, in one room with a client of today.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";

import { io as current } from "socket.io-client";

import { within } from "../clients/deadline.mjs";
import { startBalanced } from "./kit/balanced.mjs";
import { eventually } from "./kit/eventually.mjs";

const old = createRequire(new URL("../clients/package.json", import.meta.url))("socket.io-client-0.9");

const OK = { status: "ok" };
const TRANSPORTS = { polling: "xhr-polling", websocket: "websocket" };
/** Clients at once, of each transport. */
const CLIENTS = 8;
/** Acknowledged events of each: with polling, two requests each. */
const EVENTS = 60;
describe("0.9 behind a balancer without sticky sessions", () => {
  let balanced;

  before(async () => {
    balanced = await startBalanced({ env: { ROOMCAST__ENGINE__ALLOW_SOCKETIO_09: "true" } });
  });

  after(() => balanced?.stop());

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`${transport}: every event is acknowledged and reaches its room once, in order`, async () => {
      const room = `0.9 ${transport}`;
      const listener = current(balanced.url, { transports: ["websocket"], forceNew: true });
      await within(once(listener, "connect"), "connect");
      assert.deepEqual(await ask(listener, "join", room), OK);
      const heard = new Map();
      listener.on("tick", (name, number) => heard.set(name, [...(heard.get(name) ?? []), number]));
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(balanced.url, transport)));
      await Promise.all(clients.map((client) => ask(client, "join", room)));
      await Promise.all(clients.map((client, name) => talk(client, name, EVENTS)));
      const said = Array.from({ length: EVENTS }, (_, number) => number);
      const allHeard = () => clients.every((_, name) => heard.get(name)?.length === EVENTS);
      await eventually(allHeard, "today's client hears all of it");
      for (const name of clients.keys()) assert.deepEqual(heard.get(name), said, `of client ${name}`);

      const last = clients.map((client) => next(client, "back"));
      listener.emit("back", "to you");
      for (const args of await Promise.all(last)) assert.deepEqual(args, ["to you"]);
      for (const client of clients) client.disconnect();
      listener.disconnect();
    });
  }

  test("no request has failed, each gateway had its share, and most were another's", async () => {
    assert.deepEqual(balanced.failed(), []);
    const requests = balanced.nginx.requests().filter(({ target }) => target.startsWith("/socket.io/1/"));
    assert.ok(requests.length > CLIENTS * EVENTS, `${requests.length} requests`);
    const shares = balanced.shares();
    assert.ok(shares.every((share) => share > requests.length / 4), `${shares}`);
    const forwarded = await balanced.sum("roomcast_forwards_total");
    assert.ok(forwarded > requests.length / 2, `${forwarded} of ${requests.length} forwarded`);
    assert.deepEqual(await balanced.failures(), balanced.early);
    console.log(`${requests.length} requests of 0.9, ${forwarded} forwarded; none failed`);
  });

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`${transport}: an owner that is killed costs its clients one reconnect`, async () => {
      const clients = await Promise.all(Array.from({ length: 9 }, () => connect(balanced.url, transport)));
      const sids = clients.map(({ socket }) => socket.sessionid);
      await balanced.gateways[0].kill();
      await balanced.gateways[0].start();
      // What a client pushes to a session that is gone is lost to it, as with its own server: it says it again.
      await Promise.all(clients.map((client, name) => eventually(() => answers(client, `after ${name}`), `client ${name}`)));
      await balanced.settled();
      const anew = clients.filter(({ socket }, index) => socket.sessionid !== sids[index]).length;
      assert.ok(anew > 0, "some had to come back");
      for (const client of clients) client.disconnect();
    });
  }
});

/** A client with a session of its own, connected by `transport`. */
async function connect(url, transport) {
  // The only way to choose: an array among the options is merged into the library's own.
  old.transports = [TRANSPORTS[transport]];
  const client = old.connect(url, { "force new connection": true, "reconnection delay": 50, "reconnection limit": 200 });
  await next(client, "connect");
  assert.equal(client.socket.transport.name, TRANSPORTS[transport]);
  return client;
}

/** Whether the client has an answer soon. What it keeps while it is away may fall on a WebSocket that has ended again. */
function answers(client, room) {
  if (!client.socket.connected) return false;
  const soon = new Promise((resolve) => setTimeout(resolve, 500, false));
  return Promise.race([ask(client, "join", room).then(() => true), soon]);
}

/** The arguments of the next event of that name, of a client of any generation. */
function next(client, name) {
  return within(new Promise((resolve) => client.once(name, (...args) => resolve(args))), `"${name}"`);
}

function ask(client, ...event) {
  return within(new Promise((resolve) => client.emit(...event, resolve)), `acknowledgement of ${event[0]}`);
}

/** Emits `count` events one after the other, each when the one before has been acknowledged. */
async function talk(client, name, count) {
  for (let number = 0; number < count; number += 1) assert.deepEqual(await ask(client, "tick", name, number), OK);
}
