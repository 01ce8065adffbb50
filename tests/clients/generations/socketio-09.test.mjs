// Socket.IO 0.9 in Node, on each transport it has there, in the rooms of today's clients. Its API is another one, so
// that the scenarios of later clients are not for it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { io as current } from "socket.io-client";

import { within } from "../deadline.mjs";
import { openNamespace, startGateway, tokenHash } from "../harness.mjs";
import { OK, ask, same } from "../kit.mjs";

const require = createRequire(import.meta.url);
const old = require("socket.io-client-0.9");

const TRANSPORTS = { websocket: "websocket", polling: "xhr-polling" };
const TEXT = "hé€😀 \ufffd \u2028 \" \\ :+";

const engine = { allow_socketio_09: true, ping_interval_ms: 200, ping_timeout_ms: 5_000 };
let gateway;
let guarded;

before(async () => {
  gateway = await startGateway({ config: { engine, namespaces: [openNamespace("*")] } });
  const auth = { tokens: [tokenHash("good")] };
  guarded = await startGateway({
    config: { engine, namespaces: [openNamespace("/", { auth }), openNamespace("/chat"), { name: "/private", auth: "deny" }] },
  });
});
after(() => Promise.all([gateway?.stop(), guarded?.stop()]));

/** A connection of its own; what it gets is listened for before anything can come. */
function open(url, transport, options = {}) {
  // The only way to choose: an array among the options is merged into the library's own.
  old.transports = [TRANSPORTS[transport]];
  return old.connect(url, { "force new connection": true, "reconnection delay": 50, ...options });
}

function event(socket, name) {
  return within(new Promise((resolve) => socket.once(name, (...args) => resolve(args))), `"${name}"`);
}

function call(socket, name, ...args) {
  return within(new Promise((resolve) => socket.emit(name, ...args, (...answer) => resolve(answer))), name);
}

async function connected(url, transport, options) {
  const socket = open(url, transport, options);
  await event(socket, "connect");
  same(socket.socket.transport.name, TRANSPORTS[transport], "transport");
  return socket;
}

function scenario(name, run) {
  for (const transport of Object.keys(TRANSPORTS)) {
    test(`0.9.17 node ${transport}: ${name}`, async () => {
      const open = new Set();
      const connect = async (...args) => {
        const socket = await connected(args[0] ?? gateway.url, transport, args[1]);
        open.add(socket);
        return socket;
      };
      const today = async () => {
        const socket = current(gateway.url, { forceNew: true });
        open.add(socket);
        await within(once(socket, "connect"), "connect");
        return socket;
      };
      try {
        await run({ connect, today, transport });
      } finally {
        for (const socket of open) socket.disconnect();
      }
    });
  }
}

scenario("chats_with_todays_clients_in_one_room", async ({ connect, today }) => {
  const [ancient, modern] = [await connect(), await today()];
  same(await call(ancient, "join", "mixed"), [OK], "its answer");
  same(await ask(modern, "join", "mixed"), OK, "the other's answer");
  for (const said of [[TEXT, { a: [1, null] }], []]) {
    let heard = event(modern, "said");
    ancient.emit("said", ...said);
    same(await heard, said, "what a 4.8 client hears");
    heard = event(ancient, "said");
    modern.emit("said", ...said);
    same(await heard, said, "what a 0.9 client hears");
  }
  const heard = Promise.all([event(ancient, "news"), event(modern, "news")]);
  await gateway.emit("news", [TEXT], { rooms: ["mixed"] });
  same(await heard, [[TEXT], [TEXT]], "what both hear of a back end");
});

scenario("messages_without_a_name_are_the_event_message", async ({ connect, today }) => {
  const [ancient, modern] = [await connect(), await today()];
  await call(ancient, "join", "messages");
  await ask(modern, "join", "messages");
  for (const [send, value] of [
    [() => ancient.send(TEXT), TEXT],
    [() => ancient.json.send({ a: 1 }), { a: 1 }],
  ]) {
    let heard = event(modern, "message");
    send();
    same(await heard, [value], "what a 4.8 client hears");
    heard = event(ancient, "message");
    modern.send(value);
    same((await heard).slice(0, 1), [value], "what a 0.9 client hears");
  }
  await within(new Promise((resolve) => ancient.send("arrived?", resolve)), "the answer to a message");
});

scenario("binary_arrives_as_the_numbers_of_its_bytes", async ({ connect }) => {
  const ancient = await connect();
  await call(ancient, "join", "binary");
  const heard = event(ancient, "file");
  const attachments = [Buffer.from([1, 2, 255]).toString("base64")];
  await gateway.publish({ rooms: ["binary"], event: "file", arguments: '[{"_placeholder":true,"num":0}]', attachments });
  same(await heard, [[1, 2, 255]], "the file");
});

scenario("namespaces_share_a_session_and_nothing_else", async ({ connect }) => {
  const root = await connect(guarded.url, { query: "token=good" });
  const chat = root.of("/chat");
  await event(chat, "connect");
  same(await call(chat, "join", "r"), [OK], "join in /chat");
  const seen = [];
  root.on("said", (...args) => seen.push(args));
  const heard = event(chat, "said");
  await guarded.emit("said", ["here"], { namespace: "/chat", rooms: ["r"] });
  same(await heard, ["here"], "in /chat");
  same(seen, [], "in the root");
  const refused = root.of("/private");
  same(await event(refused, "connect_failed"), ["unauthorized"], "refusal");
  chat.disconnect();
  same(await call(root, "join", "r"), [OK], "the root lives");
});

scenario("wrong_token_is_refused_at_the_handshake", async ({ transport }) => {
  const socket = open(guarded.url, transport, { query: "token=bad", reconnect: false });
  same(await event(socket, "error"), ["handshake unauthorized"], "error");
});

scenario("comes_back_after_it_was_cut_off_and_sends_what_it_kept", async ({ connect, today }) => {
  const [ancient, modern] = [await connect(), await today()];
  await ask(modern, "join", "back");
  const lost = event(ancient, "disconnect");
  const back = event(ancient, "reconnect");
  await gateway.kill();
  await lost;
  const joined = call(ancient, "join", "back");
  await gateway.start();
  await back;
  same(await joined, [OK], "what it asked while it was away");
});

scenario("stays_while_heartbeats_are_answered", async ({ connect }) => {
  const ancient = await connect();
  let lost = false;
  ancient.on("disconnect", () => (lost = true));
  const { transport } = ancient.socket;
  const take = transport.onPacket;
  await within(
    new Promise((resolve) => {
      let signs = 0;
      transport.onPacket = function (packet) {
        // Over polling a poll ends with nothing instead.
        if (["heartbeat", "noop"].includes(packet.type) && ++signs === 5) resolve();
        return take.call(this, packet);
      };
    }),
    "five signs of life",
  );
  assert.equal(lost, false);
  same(await call(ancient, "join", "still-here"), [OK], "answer");
});
