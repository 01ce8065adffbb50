// What ends a session, what does not, and what is said then: the parts of the error table that take more than
// one request at a time, and WebSocket refusals.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { after, before, test } from "node:test";

import { next, within } from "../deadline.mjs";
import { openNamespace, startGateway } from "../harness.mjs";
import { closeCode, exchange, openPolling, openWebSocket, request, upgradeRequest } from "./raw.mjs";

const UNKNOWN_SID = '{"code":1,"message":"Session ID unknown"}';
const BAD_REQUEST = '{"code":3,"message":"Bad request"}';

let gateway;
let port;

before(async () => {
  gateway = await startGateway({ config: { namespaces: [openNamespace("*")] } });
  port = gateway.port;
});

after(() => gateway?.stop());

async function assertGone({ path }) {
  const answer = await request(port, path);
  assert.deepEqual([answer.status, answer.body], [400, UNKNOWN_SID]);
}

/** Starts a poll and resolves once its bytes have left; `answer` is a promise. */
async function startPoll({ path }) {
  const sent = http.get({ host: "127.0.0.1", port, path, agent: false });
  const answer = within(
    once(sent, "response").then(async ([response]) => {
      const parts = [];
      for await (const part of response) parts.push(part);
      return { status: response.statusCode, body: Buffer.concat(parts).toString() };
    }),
    "the waiting poll's answer",
  );
  // A poll that is cut by its test has no answer.
  answer.catch(() => {});
  await next(sent, "finish");
  return { sent, answer };
}

/** Joins `/` so that the session has no connect timeout and the server nothing more to say. */
async function joined(session) {
  await request(port, session.path, { method: "POST", body: "40" });
  const { body } = await request(port, session.path);
  assert.match(body, /^40\{"sid":"[\w-]{20}"/);
  return session;
}

test("second_poll_ends_the_session", async () => {
  const session = await joined(await openPolling(port));
  const polls = [await startPoll(session), await startPoll(session)];
  const answers = await Promise.all(polls.map((poll) => poll.answer));
  // Which of the two came first is the network's choice.
  assert.deepEqual(answers.map((each) => each.status).sort(), [200, 400]);
  assert.equal(answers.find((each) => each.status === 200).body, "1");
  assert.equal(answers.find((each) => each.status === 400).body, "");
  await assertGone(session);
});

test("cut_poll_ends_the_session", async () => {
  const session = await joined(await openPolling(port));
  const { sent } = await startPoll(session);
  // Proves that the poll is waiting at the server before it is cut: it is what answers this push.
  await gateway.publish({ event: "here" });
  const poll = await startPoll(session);
  poll.sent.destroy();
  sent.destroy();
  let answer;
  do {
    answer = await request(port, session.path, { method: "POST", body: "3" });
  } while (answer.status === 200);
  assert.equal(answer.body, UNKNOWN_SID);
});

test("second_push_ends_the_session", async () => {
  const session = await joined(await openPolling(port));
  const first = net.connect(port, "127.0.0.1");
  first.on("error", () => {});
  const cut = once(first, "close");
  await next(first, "connect");
  // Its body is asked for once it has become the push of the session.
  first.write(`POST ${session.path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n`);
  assert.match(String(await next(first, "data")), /^HTTP\/1.1 100 /);
  const second = await request(port, session.path, { method: "POST", body: "3" });
  assert.deepEqual([second.status, second.body], [400, ""]);
  await within(cut, "the first push to be cut");
  await assertGone(session);
});

test("close_packet_releases_the_poll_and_ends_the_session", async () => {
  const session = await joined(await openPolling(port));
  const { answer } = await startPoll(session);
  // Two connections: the close may overtake the poll, which then finds no session.
  const push = await request(port, session.path, { method: "POST", body: "1" });
  assert.deepEqual([push.status, push.body], [200, "ok"]);
  const poll = await answer;
  assert.ok(poll.body === "6" || poll.body === UNKNOWN_SID, poll.body);
  await assertGone(session);
});

test("polling_is_refused_on_a_websocket_session", async () => {
  const { socket, messages } = await openWebSocket(port);
  if (messages.length === 0) await next(socket, "message");
  const { sid } = JSON.parse(messages[0].slice(1));
  const answer = await request(port, `/socket.io/?EIO=4&transport=polling&sid=${sid}`);
  assert.deepEqual([answer.status, answer.body], [400, BAD_REQUEST]);
  socket.close();
});

test("upgrade_without_probe_is_accepted", async () => {
  const session = await openPolling(port);
  await request(port, session.path, { method: "POST", body: "40" });
  const { socket } = await openWebSocket(port, `EIO=4&transport=websocket&sid=${session.sid}`);
  const message = next(socket, "message");
  socket.send("5");
  const [data] = await message;
  assert.match(data.toString(), /^40\{"sid":"/);
  socket.close();
});

test("message_instead_of_a_probe_closes_the_websocket_only", async () => {
  const session = await openPolling(port);
  const { socket } = await openWebSocket(port, `EIO=4&transport=websocket&sid=${session.sid}`);
  const closed = closeCode(socket);
  socket.send('42["early"]');
  assert.equal(await closed, 1005);
  await joined(session);
});

test("second_websocket_of_an_upgraded_session_is_closed", async () => {
  const session = await openPolling(port);
  const query = `EIO=4&transport=websocket&sid=${session.sid}`;
  const { socket } = await openWebSocket(port, query);
  const probed = next(socket, "message");
  socket.send("2probe");
  assert.equal((await probed)[0].toString(), "3probe");
  socket.send("5");
  // The upgrade is done when something comes back over it.
  const connected = next(socket, "message");
  socket.send("40");
  await connected;
  const second = await openWebSocket(port, query);
  if (second.socket.readyState !== second.socket.CLOSED) assert.equal(await closeCode(second.socket), 1005);
  const poll = await request(port, session.path);
  assert.deepEqual([poll.status, poll.body], [400, BAD_REQUEST]);
  assert.equal(socket.readyState, socket.OPEN);
  socket.close();
});

test("waiting_poll_is_released_by_a_noop_when_probed", async () => {
  const session = await joined(await openPolling(port));
  const { answer } = await startPoll(session);
  const { socket } = await openWebSocket(port, `EIO=4&transport=websocket&sid=${session.sid}`);
  socket.send("2probe");
  const { status, body } = await answer;
  assert.deepEqual([status, body], [200, "6"]);
  socket.close();
});

test("bad_packet_over_websocket_closes_it", async () => {
  for (const bad of ["", "9", "x", "2"]) {
    const { socket } = await openWebSocket(port);
    const closed = closeCode(socket);
    socket.send("40");
    socket.send(bad);
    assert.equal(await closed, 1005, JSON.stringify(bad));
  }
});

const REFUSALS = [
  ["unknown sid", "/socket.io/?EIO=4&transport=websocket&sid=nope", {}, "Session ID unknown"],
  ["unknown transport", "/socket.io/?EIO=4&transport=abc", {}, "Transport unknown"],
  ["Origin of forbidden bytes", "/socket.io/?EIO=4&transport=websocket", { Origin: "http://a\x01b" }, null],
  ["missing key", "/socket.io/?EIO=4&transport=websocket", { "Sec-WebSocket-Key": null }, null],
  ["wrong version", "/socket.io/?EIO=4&transport=websocket", { "Sec-WebSocket-Version": "12" }, null],
];

for (const [name, path, headers, body] of REFUSALS) {
  test(`websocket is refused with 400: ${name}`, async () => {
    const answer = await exchange(port, upgradeRequest(path, headers));
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
    if (body !== null) assert.equal(answer.split("\r\n\r\n")[1], body);
  });
}
