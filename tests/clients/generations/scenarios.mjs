// What differs between generations of the client, and what shows that the difference is taken care of. As in
// ../scenarios.mjs, the browser loads this file too: no Node imports. A context holds beside what is said there:
//   speaks      3 or 4: the revision of Engine.IO, by which nearly everything here differs
//   fewBytes    whether an attachment is short: sent as base64 by a script for pages up to 2.x, one of more than about
//               100 kB fails, in a call with as many arguments as there are bytes
//   knowsIds    whether the client knows its ids in other namespaces than the root

import { next, within } from "../deadline.mjs";
import { OK, ask, base64, join, pair, same, someBytes, truth, untilEnd } from "../kit.mjs";

const TEXT = "hé€😀 \u0001 \u2028 \" \\ ,[0]";

/** What the configuration of suite.mjs refuses clients with. */
const REFUSAL = { code: "E_AUTH", retry: false };

/** An ArrayBuffer: the one kind of binary that every generation knows, in Node and in browsers. */
function buffer(count, seed) {
  return someBytes(count, seed).buffer;
}

/** Options that carry a token: revision 3 has no place for it but the query. */
function credentials(ctx, token) {
  return ctx.speaks === 3 ? { query: { token } } : { auth: { token } };
}

/** What a refused client hears, as { message, data } whatever the generation. */
async function refused(ctx, socket) {
  if (ctx.speaks === 3) {
    const [data] = await next(socket, "error");
    return { message: data?.message, data };
  }
  const [{ message, data }] = await next(socket, "connect_error");
  return { message, data };
}

/** Resolves after `count` heartbeats: in revision 3 the client pings and the server answers, in 4 the server pings. */
function beats(ctx, engine, count) {
  const sign = ctx.speaks === 3 ? "pong" : "ping";
  let seen = 0;
  const enough = new Promise((resolve) => {
    engine.on("packet", ({ type }) => {
      if (type === sign) seen += 1;
      if (seen === count) resolve();
    });
  });
  return within(enough, `${count} heartbeats`);
}

/** The id of `socket`; 1.x says the one of the root in every namespace. */
function idOf(ctx, socket, namespace) {
  return ctx.knowsIds || namespace === "/" ? socket.id : `${namespace}#${socket.io.engine.id}`;
}

export const GENERATION_SCENARIOS = [
  {
    name: "id_is_the_one_the_server_uses",
    needs: "open",
    async run(ctx) {
      const root = await ctx.connect("/");
      const chat = await ctx.connect("/chat", { manager: root.io });
      if (ctx.speaks === 3) {
        same(root.id, root.io.engine.id, "id in the root");
        same(idOf(ctx, chat, "/chat"), `/chat#${root.io.engine.id}`, "id in another namespace");
      } else {
        const ids = [root.io.engine.id, root.id, chat.id];
        same(new Set(ids).size, 3, `different ids among ${ids}`);
      }
      for (const [namespace, socket] of [["/", root], ["/chat", chat]]) {
        const found = next(socket, "found");
        const id = idOf(ctx, socket, namespace);
        await ctx.publish({ namespace, rooms: [id], event: "found", arguments: JSON.stringify([namespace]) });
        same(await found, [namespace], `published to the room of ${id}`);
      }
    },
  },
  {
    name: "namespaces_of_one_connection_do_not_mix",
    needs: "open",
    async run(ctx) {
      const root = await ctx.connect("/");
      const chat = await ctx.connect("/chat", { manager: root.io });
      truth(chat.io.engine === root.io.engine, "one connection");
      await join(root, "lobby");
      await join(chat, "lobby");
      const heard = [untilEnd(root), untilEnd(chat)];
      for (const namespace of ["/", "/chat"]) {
        await ctx.publish({ namespace, rooms: ["lobby"], event: "m", arguments: JSON.stringify([namespace]) });
        await ctx.publish({ namespace, rooms: ["lobby"], event: "end" });
      }
      same(await Promise.all(heard), [["/"], ["/chat"]], "messages by namespace");
    },
  },
  {
    name: "text_of_the_generation_survives_in_both_directions",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, TEXT);
      const relayed = next(bob, TEXT);
      same(await ask(ada, TEXT, TEXT, { [TEXT]: TEXT }), OK, "answer");
      same(await relayed, [TEXT, { [TEXT]: TEXT }], "relayed");
      const published = next(bob, TEXT);
      await ctx.publish({ rooms: [TEXT], event: TEXT, arguments: JSON.stringify([TEXT]) });
      same(await published, [TEXT], "published");
    },
  },
  {
    name: "two_attachments_survive_in_both_directions",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "files");
      const parts = [buffer(256), buffer(3, 9)];
      const args = [{ deep: [parts[0]], text: TEXT }, "between", parts[1]];
      const relayed = next(bob, "file");
      same(await ask(ada, "file", ...args), OK, "answer");
      same(await relayed, args, "relayed");
      const back = next(ada, "file");
      await ctx.publish({
        rooms: [ada.id],
        event: "file",
        arguments: '[{"_placeholder":true,"num":0},"between",{"also":{"_placeholder":true,"num":1}}]',
        attachments: parts.map((part) => base64(new Uint8Array(part))),
      });
      same(await back, [parts[0], "between", { also: parts[1] }], "published");
    },
  },
  {
    name: "large_attachment_survives_in_both_directions",
    needs: "open",
    async run(ctx) {
      const [ada, bob] = await pair(ctx, "large");
      const bytes = buffer(ctx.fewBytes ? 100_000 : 300_000, 3);
      const relayed = next(bob, "large");
      same(await ask(ada, "large", bytes), OK, "answer");
      same(await relayed, [bytes], "relayed");
      const published = next(ada, "large");
      await ctx.publish({
        rooms: [ada.id],
        event: "large",
        arguments: '[{"_placeholder":true,"num":0}]',
        attachments: [base64(new Uint8Array(bytes))],
      });
      same(await published, [bytes], "published");
    },
  },
  {
    name: "query_is_no_part_of_the_namespace",
    needs: "open",
    speaks: 3,
    async run(ctx) {
      const socket = await ctx.connect("/chat?x=1");
      await join(socket, "lobby");
      const heard = untilEnd(socket);
      await ctx.publish({ namespace: "/chat", rooms: ["lobby"], event: "m", arguments: '["to /chat"]' });
      await ctx.publish({ namespace: "/chat", rooms: [socket.io.engine.id], event: "m", arguments: '["no id"]' });
      await ctx.publish({ namespace: "/chat", rooms: [`/chat#${socket.io.engine.id}`], event: "end" });
      same(await heard, ["to /chat"], "messages");
    },
  },
  {
    name: "refused_client_hears_the_data",
    needs: "guarded",
    async run(ctx) {
      const socket = ctx.socket("/guarded", credentials(ctx, "wrong"));
      same((await refused(ctx, socket)).data, REFUSAL, "data");
      truth(!socket.connected, "not connected");
    },
  },
  {
    name: "client_with_the_right_token_is_let_in",
    needs: "guarded",
    async run(ctx) {
      const socket = await ctx.connect("/guarded", credentials(ctx, "good"));
      same(await ask(socket, "hello"), OK, "answer");
      same((await ask(socket, "forbidden")).status, "error", "event without a rule");
      const welcome = next(socket, "welcome");
      await ctx.publish({ namespace: "/guarded", rooms: ["members"], event: "welcome", arguments: "[1]" });
      same(await welcome, [1], "the room it joins by itself");
    },
  },
  {
    name: "client_refused_in_the_root_hears_the_data",
    needs: "closed",
    async run(ctx) {
      const socket = ctx.socket("/", credentials(ctx, "wrong"));
      same((await refused(ctx, socket)).data, REFUSAL, "data");
      truth(!socket.connected, "not connected");
    },
  },
  {
    name: "client_with_the_right_token_is_let_into_the_root",
    needs: "closed",
    async run(ctx) {
      const socket = await ctx.connect("/", credentials(ctx, "good"));
      same(await ask(socket, "hello"), OK, "answer");
    },
  },
  {
    name: "unknown_namespace_is_refused_and_the_root_lives",
    needs: "guarded",
    async run(ctx) {
      const root = await ctx.connect("/");
      const unknown = ctx.socket("/nowhere", { manager: root.io });
      same((await refused(ctx, unknown)).message, "Invalid namespace", "message");
      truth(!unknown.connected, "not connected");
      same(await ask(root, "still here"), OK, "the other namespace");
    },
  },
  {
    name: "stays_connected_over_many_heartbeats",
    needs: "hasty",
    async run(ctx) {
      const socket = await ctx.connect("/");
      let gone = null;
      socket.on("disconnect", (reason) => (gone = reason));
      await beats(ctx, socket.io.engine, 8);
      same(gone, null, "reason of a disconnection");
      same(await ask(socket, "still here"), OK, "answer");
    },
  },
];
