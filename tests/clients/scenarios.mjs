// What a client of a gateway lives through, written once and run with the real client in Node and in Chromium,
// on every transport. No Node imports: the browser loads this file as it is.
//
// A scenario takes a context:
//   io          the client library
//   url         base address of the gateway
//   transport   "websocket", "polling" or "upgrade"; "jsonp" for old clients in browsers
//   connect     (namespace, options) => a socket that is closed after the test
//   publish     (message) => answer; fields of roomcast.v1.Message, attachments in base64
//   restart     () => ends the gateway like a crash and starts it again on the same ports
//
// `needs` names the gateway it runs against: "open" as with --dev, "guarded" with a configuration (see
// `guardedConfig` in suite.mjs), "own" an open one that no other scenario shares.

import { next, nextMany } from "./deadline.mjs";
import { OK, ask, base64, canonical, join, pair, record, same, someBytes, truth, untilEnd } from "./kit.mjs";

/** Text of every UTF-8 length, a lone control character, and the separators that JSON and payloads use. */
const TEXT = "hé€😀 \u0001 \u2028 \u001e \" \\ ,[0]";

/** Whether the transport never is a WebSocket. */
function polls({ transport }) {
  return transport === "polling" || transport === "jsonp";
}

export const SCENARIOS = [
  {
    name: "connects_with_an_id_of_its_own",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/");
      truth(/^[\w-]{20}$/.test(socket.id), `socket id ${socket.id} is not of 20 url-safe characters`);
      truth(socket.id !== socket.io.engine.id, "the public socket id gives away the secret session id");
      truth(!socket.recovered, "a first connection is not a recovered one");
    },
  },
  {
    name: "ends_on_the_transport_it_asked_for",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/", { settled: false });
      const { engine } = socket.io;
      if (ctx.transport === "upgrade") {
        if (engine.transport.name === "polling") await next(engine, "upgrade");
        same(await ask(socket, "anything"), OK, "an event after the upgrade");
      }
      same(engine.transport.name, polls(ctx) ? "polling" : "websocket", "transport");
    },
  },
  {
    name: "loses_nothing_while_it_upgrades",
    needs: "open",
    async run(ctx) {
      const listener = await ctx.connect("/");
      await join(listener, "upgrading");
      const sender = await ctx.connect("/", { settled: false });
      const arrived = nextMany(listener, "n", 200);
      await join(sender, "upgrading");
      for (let n = 0; n < 200; n += 1) {
        sender.emit("n", n);
        if (n % 10 === 0) await ask(sender, "join", "upgrading");
      }
      same((await arrived).flat(), Array.from({ length: 200 }, (_, n) => n), "numbers in order");
    },
  },
  {
    name: "event_is_acknowledged",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/");
      same(await ask(socket, "greeting", "Ada"), OK, "answer");
      const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(socket, "greeting", n)));
      same(answers, answers.map(() => OK), "fifty at once");
    },
  },
  {
    name: "join_without_a_room_is_refused",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/");
      for (const args of [[], [""], [7], [null], [{}]]) {
        const answer = await ask(socket, "join", ...args);
        same(answer.status, "error", `join with ${canonical(args)}`);
        truth(typeof answer.message === "string" && answer.message, "the refusal says why");
      }
      same(await ask(socket, "join", "lobby"), OK, "join after refusals");
    },
  },
  {
    name: "event_reaches_the_others_of_its_room_only",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "club");
      const eve = await ctx.connect("/");
      await join(eve, "elsewhere");
      const news = next(bob, "news");
      const [atAda, atEve] = [record(ctx, ada), record(ctx, eve)];
      same(await ask(ada, "news", "Ada", 1, null, [true], { a: { b: "c" } }), OK, "answer");
      same(await news, ["Ada", 1, null, [true], { a: { b: "c" } }], "arguments");
      same(await atEve(), [], "someone in another room");
      same(await atAda(), [], "the sender");
    },
  },
  {
    name: "left_room_is_silent",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "den");
      same(await ask(bob, "leave", "den"), OK, "leave");
      const atBob = record(ctx, bob);
      await ask(ada, "news", "not for Bob");
      await ctx.publish({ rooms: ["den"], event: "news", arguments: '["nor this"]' });
      same(await atBob(), [], "after leaving");
    },
  },
  {
    name: "text_survives_in_both_directions",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, TEXT);
      const relayed = next(bob, TEXT);
      await ask(ada, TEXT, TEXT, { [TEXT]: TEXT });
      same(await relayed, [TEXT, { [TEXT]: TEXT }], "relayed");
      const published = next(bob, TEXT);
      await ctx.publish({ rooms: [TEXT], event: TEXT, arguments: JSON.stringify([TEXT]) });
      same(await published, [TEXT], "published");
    },
  },
  {
    name: "binary_is_relayed",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "files");
      const parts = [someBytes(1), someBytes(256, 1), new Uint8Array(0), someBytes(3, 9)];
      const args = [parts[0], { deep: [parts[1], { twice: parts[2] }], text: TEXT }, "between", parts[3]];
      const file = next(bob, "file");
      same(await ask(ada, "file", ...args), OK, "answer");
      same(await file, args, "attachments in place");
    },
  },
  {
    name: "binary_is_published",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/");
      const parts = [someBytes(256), someBytes(5, 77)];
      const file = next(socket, "file");
      await ctx.publish({
        rooms: [socket.id],
        event: "file",
        arguments: '[{"_placeholder":true,"num":0},{"also":[{"_placeholder":true,"num":1}]},"end"]',
        attachments: parts.map(base64),
      });
      same(await file, [parts[0], { also: [parts[1]] }, "end"], "attachments in place");
    },
  },
  {
    name: "large_binary_survives_in_both_directions",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "large");
      const bytes = someBytes(500_000, 3);
      const relayed = next(bob, "large");
      same(await ask(ada, "large", bytes, bytes.length), OK, "answer");
      same(await relayed, [bytes, bytes.length], "relayed");
      const published = next(ada, "large");
      await ctx.publish({
        rooms: [ada.id],
        event: "large",
        arguments: '[{"_placeholder":true,"num":0}]',
        attachments: [base64(bytes)],
      });
      same(await published, [bytes], "published");
    },
  },
  {
    name: "thousand_events_keep_their_order",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "order");
      const arrived = nextMany(bob, "n", 1000);
      for (let n = 0; n < 1000; n += 1) ada.emit("n", n);
      same((await arrived).flat(), Array.from({ length: 1000 }, (_, n) => n), "order");
    },
  },
  {
    name: "published_messages_keep_their_order",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/");
      const arrived = nextMany(socket, "n", 200);
      for (let n = 0; n < 200; n += 1) {
        await ctx.publish({ rooms: [socket.id], event: "n", arguments: `[${n}]` });
      }
      same((await arrived).flat(), Array.from({ length: 200 }, (_, n) => n), "order");
    },
  },
  {
    name: "rooms_are_a_union_without_duplicates_minus_except",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "red");
      await join(ada, "blue");
      const eve = await ctx.connect("/");
      await join(eve, "blue");
      const heard = [ada, bob, eve].map((socket) => untilEnd(socket));
      await ctx.publish({ rooms: ["red", "blue", "nobody"], event: "m", arguments: '["all"]' });
      await ctx.publish({ rooms: ["red"], except: ["blue"], event: "m", arguments: '["red only"]' });
      await ctx.publish({ rooms: ["blue"], except: [ada.id], event: "m", arguments: '["not Ada"]' });
      await ctx.publish({ rooms: ["nobody"], event: "m", arguments: '["nobody"]' });
      await ctx.publish({ rooms: [ada.id, bob.id, eve.id], event: "end" });
      const [adas, bobs, eves] = await Promise.all(heard);
      same(adas, ["all"], "in both rooms");
      same(bobs, ["all", "red only"], "in red");
      same(eves, ["all", "not Ada"], "in blue");
    },
  },
  {
    name: "volatile_publish_arrives_at_an_idle_client_at_most_once",
    needs: "open",
    async run(ctx) {
      const socket = await ctx.connect("/");
      const heard = untilEnd(socket);
      await ctx.publish({ rooms: [socket.id], event: "m", arguments: "[1]", volatile: true });
      await ctx.publish({ rooms: [socket.id], event: "end" });
      const arrived = await heard;
      // Between two polls a polling client is not ready, and the message may be dropped.
      if (polls(ctx)) truth(arrived.length <= 1, `came ${arrived.length} times`);
      else same(arrived, [1], "messages");
    },
  },
  {
    name: "volatile_event_of_a_client_is_relayed",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "drawing");
      const stroke = next(bob, "stroke");
      // A client whose transport is busy drops volatile events: once is not enough to be sure.
      const repeat = setInterval(() => ada.volatile.emit("stroke", 4, 2), 50);
      ada.volatile.emit("stroke", 4, 2);
      same(await stroke.finally(() => clearInterval(repeat)), [4, 2], "stroke");
    },
  },
  {
    name: "namespaces_share_a_connection_and_nothing_else",
    needs: "open",
    async run(ctx) {
      const root = await ctx.connect("/");
      const chat = await ctx.connect("/chat", { manager: root.io });
      truth(chat.io.engine === root.io.engine, "one connection");
      truth(chat.id !== root.id, "an id per namespace");
      await join(root, "lobby");
      await join(chat, "lobby");
      const heard = [untilEnd(root), untilEnd(chat)];
      await ctx.publish({ namespace: "/", rooms: ["lobby"], event: "m", arguments: '["root"]' });
      await ctx.publish({ namespace: "/chat", rooms: ["lobby"], event: "m", arguments: '["chat"]' });
      await ctx.publish({ namespace: "/", rooms: [root.id], event: "end" });
      await ctx.publish({ namespace: "/chat", rooms: [chat.id], event: "end" });
      same(await Promise.all(heard), [["root"], ["chat"]], "messages by namespace");
    },
  },
  {
    name: "one_namespace_is_left_and_joined_again",
    needs: "open",
    async run(ctx) {
      const root = await ctx.connect("/");
      const chat = await ctx.connect("/chat", { manager: root.io });
      const before = chat.id;
      await join(chat, "lobby");
      chat.disconnect();
      same(await ask(root, "still here"), OK, "the other namespace");
      truth(root.connected && !chat.connected, "only one namespace is left");
      const again = next(chat, "connect");
      chat.connect();
      await again;
      truth(chat.id !== before, "a new id");
      const atChat = record(ctx, chat, "/chat");
      await ctx.publish({ namespace: "/chat", rooms: ["lobby", before], event: "news" });
      same(await atChat(), [], "rooms of the old socket are gone");
    },
  },
  {
    name: "unknown_namespace_is_refused_and_the_connection_lives",
    needs: "guarded",
    async run(ctx) {
      const root = await ctx.connect("/");
      const unknown = ctx.socket("/nowhere", { manager: root.io });
      const [error] = await next(unknown, "connect_error");
      same(error.message, "Invalid namespace", "message");
      truth(!unknown.connected, "not connected");
      same(await ask(root, "still here"), OK, "the other namespace");
    },
  },
  {
    name: "wrong_token_is_refused_with_data",
    needs: "guarded",
    async run(ctx) {
      for (const auth of [undefined, {}, { token: "wrong" }, { token: 7 }, { token: "" }]) {
        const socket = ctx.socket("/guarded", { auth });
        const [error] = await next(socket, "connect_error");
        same(error.data, { code: "E_AUTH", retry: false }, `data for ${canonical(auth)}`);
        truth(error.message && error.message !== "Invalid namespace", `message ${error.message}`);
        truth(!socket.active, "the client gives up by itself");
      }
    },
  },
  {
    name: "right_token_is_let_in",
    needs: "guarded",
    async run(ctx) {
      const socket = await ctx.connect("/guarded", { auth: { token: "good" } });
      same(await ask(socket, "hello"), OK, "answer");
      const welcome = next(socket, "welcome");
      await ctx.publish({ namespace: "/guarded", rooms: ["members"], event: "welcome", arguments: "[1]" });
      same(await welcome, [1], "the room it joins by itself");
    },
  },
  {
    name: "event_without_a_rule_is_refused",
    needs: "guarded",
    async run(ctx) {
      const socket = await ctx.connect("/guarded", { auth: { token: "good" } });
      same((await ask(socket, "forbidden")).status, "error", "answer");
      same((await ask(socket, "join", "any")).status, "error", "join without a rule");
      same(await ask(socket, "hello"), OK, "the connection lives");
    },
  },
  {
    name: "oversized_message_costs_its_sender_the_connection",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "limits");
      const atBob = record(ctx, bob);
      const gone = next(ada, "disconnect");
      const back = next(ada, "connect");
      ada.emit("huge", someBytes(1_100_000));
      const [reason] = await gone;
      truth(["transport close", "transport error"].includes(reason), `reason ${reason}`);
      await back;
      same(await ask(ada, "small"), OK, "after the return");
      same(await atBob(), [], "what the others get");
      truth(bob.connected, "the others stay");
    },
  },
  {
    name: "comes_back_after_the_server_did",
    needs: "own",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "home");
      const before = ada.id;
      const gone = [next(ada, "disconnect"), next(bob, "disconnect")];
      const back = [next(ada, "connect"), next(bob, "connect")];
      await ctx.restart();
      for (const [reason] of await Promise.all(gone)) {
        truth(["transport close", "transport error"].includes(reason), `reason ${reason}`);
      }
      await Promise.all(back);
      truth(ada.id !== before, "a new id");
      await join(ada, "home");
      await join(bob, "home");
      const news = next(bob, "news");
      await ask(ada, "news", "again");
      same(await news, ["again"], "news after the return");
    },
  },
  {
    name: "events_emitted_while_away_are_sent_on_return",
    needs: "own",
    async run(ctx) {
      const socket = await ctx.connect("/");
      const gone = next(socket, "disconnect");
      const back = next(socket, "connect");
      const restarted = ctx.restart();
      await gone;
      const answer = ask(socket, "patient");
      await Promise.all([restarted, back]);
      same(await answer, OK, "answer to what waited");
    },
  },
];
