// Limits and timeouts that a configuration sets: payload sizes, heartbeats, upgrade and connect timeouts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { next } from "../deadline.mjs";
import { openNamespace, startGateway } from "../harness.mjs";
import { closeCode, openPolling, openWebSocket, request } from "./raw.mjs";

const ENGINE = { max_payload_bytes: 100, upgrade_timeout_ms: 300, ping_interval_ms: 300, ping_timeout_ms: 200 };

let gateway;
let port;

before(async () => {
  gateway = await startGateway({
    config: { engine: ENGINE, limits: { connect_timeout_ms: 250 }, namespaces: [openNamespace("*")] },
  });
  port = gateway.port;
});

after(() => gateway?.stop());

/** A WebSocket session that has joined `/`. */
async function joinedWebSocket() {
  const { socket } = await openWebSocket(port);
  let data;
  socket.send("40");
  do [data] = await next(socket, "message");
  while (!data.toString().startsWith("40"));
  return socket;
}

/** A message packet of `bytes` bytes in all that no application hears. */
function messageOf(bytes) {
  const [start, end] = ['42["', '"]'];
  return start + "x".repeat(bytes - start.length - end.length) + end;
}

test("handshake_states_the_limits", async () => {
  const { body } = await request(port, "/socket.io/?EIO=4&transport=polling");
  const { maxPayload, pingInterval, pingTimeout } = JSON.parse(body.slice(1));
  assert.deepEqual([maxPayload, pingInterval, pingTimeout], [100, 300, 200]);
});

test("oversized_push_is_413_and_the_session_lives", async () => {
  const { path } = await openPolling(port);
  const refused = await request(port, path, { method: "POST", body: messageOf(101) });
  assert.deepEqual([refused.status, refused.body], [413, ""]);
  const accepted = await request(port, path, { method: "POST", body: "40" });
  assert.deepEqual([accepted.status, accepted.body], [200, "ok"]);
  const exact = await request(port, path, { method: "POST", body: messageOf(100) });
  assert.deepEqual([exact.status, exact.body], [200, "ok"]);
});

test("oversized_chunked_push_is_413", async () => {
  const { path } = await openPolling(port);
  const headers = { "Transfer-Encoding": "chunked" };
  const refused = await request(port, path, { method: "POST", headers, body: messageOf(101) });
  assert.equal(refused.status, 413);
});

test("oversized_websocket_message_closes_with_1009", async () => {
  const socket = await joinedWebSocket();
  const closed = closeCode(socket);
  socket.send(messageOf(100));
  socket.send(messageOf(101));
  assert.equal(await closed, 1009);
});

test("oversized_fragmented_websocket_message_closes_with_1009", async () => {
  const socket = await joinedWebSocket();
  const closed = closeCode(socket);
  socket.send(messageOf(80), { fin: false });
  socket.send("x".repeat(80), { fin: true });
  assert.equal(await closed, 1009);
});

test("late_pong_closes_the_websocket", async () => {
  const { socket, messages } = await openWebSocket(port);
  const closed = closeCode(socket);
  socket.send("40");
  assert.equal(await closed, 1005);
  assert.ok(messages.includes("2"), `no ping in ${messages}`);
});

test("late_pong_closes_the_polling_session", async () => {
  const { path } = await openPolling(port);
  await request(port, path, { method: "POST", body: "40" });
  const seen = [];
  let answer;
  do {
    answer = await request(port, path);
    if (answer.status === 200) seen.push(...answer.body.split("\x1e"));
  } while (answer.status === 200);
  assert.equal(answer.body, '{"code":1,"message":"Session ID unknown"}');
  assert.match(seen.shift(), /^40/);
  assert.deepEqual(seen, ["2", "1"]);
});

test("probe_that_never_comes_closes_the_websocket_only", async () => {
  const { path, sid } = await openPolling(port);
  await request(port, path, { method: "POST", body: "40" });
  const { socket } = await openWebSocket(port, `EIO=4&transport=websocket&sid=${sid}`);
  const closed = closeCode(socket);
  const first = await request(port, path);
  assert.match(first.body, /^40/);
  // The heartbeat stays on the old transport while the new one says nothing.
  const second = await request(port, path);
  assert.equal(second.body, "2");
  await request(port, path, { method: "POST", body: "3" });
  assert.equal(await closed, 1005);
  assert.equal((await request(port, path, { method: "POST", body: '42["still here"]' })).status, 200);
});

test("client_that_joins_nothing_is_closed", async () => {
  const { socket, messages } = await openWebSocket(port);
  assert.equal(await closeCode(socket), 1005);
  assert.equal(messages.length, 1, `only the open packet, before any ping: ${messages}`);
  const { path } = await openPolling(port);
  assert.equal((await request(port, path)).body, "1");
});

test("client_that_answers_pings_stays", async () => {
  const socket = await joinedWebSocket();
  for (let pings = 0; pings < 4; ) {
    const [data] = await next(socket, "message");
    if (data.toString() !== "2") continue;
    pings += 1;
    socket.send("3");
  }
  assert.equal(socket.readyState, socket.OPEN);
  socket.close();
});
