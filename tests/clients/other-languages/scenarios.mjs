// What a client in another language does with a gateway, beside a client in Node. A context has
//   connect(options)   a client of the language, connected to `namespaces` ("/" if not given)
//   peer()             the current client in Node, connected to "/"
//   gateway, transport

import { next } from "../deadline.mjs";
import { OK, ask, join, same, someBytes, truth } from "../kit.mjs";

const TEXT = 'hé€😀 \u2028 " \\ ,[0]';

/** A client of the language and one in Node, both in `room`. */
async function together(ctx, room) {
  const [client, peer] = [await ctx.connect(), await ctx.peer()];
  same(await client.ask("join", [room]), [OK], "join");
  await join(peer, room);
  return [client, peer];
}

export const SCENARIOS = [
  {
    name: "ends_on_the_transport_it_asked_for",
    async run(ctx) {
      const client = await ctx.connect();
      same(await client.ask("greeting", ["Ada"]), [OK], "answer");
      const expected = ctx.transport === "polling" ? "polling" : "websocket";
      await ctx.eventually(async () => (await ctx.connections(expected)) === 1, `one session over ${expected}`);
    },
  },
  {
    name: "event_is_acknowledged",
    async run(ctx) {
      const client = await ctx.connect();
      for (let n = 0; n < 20; n += 1) same(await client.ask("greeting", [n]), [OK], "answer");
      const [refusal] = await client.ask("join", [""]);
      same(refusal.status, "error", "join without a room");
    },
  },
  {
    name: "event_reaches_the_others_of_its_room",
    async run(ctx) {
      const [client, peer] = await together(ctx, TEXT);
      const args = [TEXT, 1, null, [true], { [TEXT]: { b: 1.5 } }];
      const atPeer = next(peer, TEXT);
      same(await client.ask(TEXT, args), [OK], "answer");
      same(await atPeer, args, "heard in Node");
      const atClient = client.event(TEXT);
      same(await ask(peer, TEXT, ...args), OK, "answer in Node");
      same(await atClient, args, "heard");
    },
  },
  {
    name: "bytes_are_sent",
    async run(ctx) {
      const [client, peer] = await together(ctx, "files");
      const heard = next(peer, "file");
      client.emit("file", [someBytes(50_000, 3)]);
      same(await heard, [someBytes(50_000, 3)], "heard in Node");
    },
  },
  {
    name: "bytes_are_heard",
    async run(ctx) {
      const [client, peer] = await together(ctx, "files");
      const heard = client.event("file");
      peer.emit("file", someBytes(50_000, 3));
      same(await heard, [someBytes(50_000, 3)], "heard");
    },
  },
  {
    name: "bytes_may_lie_anywhere",
    async run(ctx) {
      const [client, peer] = await together(ctx, "files");
      const args = [{ deep: [someBytes(256)], text: TEXT }, "between", someBytes(3, 9)];
      const atPeer = next(peer, "file");
      same(await client.ask("file", args), [OK], "answer");
      same(await atPeer, args, "heard in Node");
      const atClient = client.event("file");
      peer.emit("file", ...args);
      same(await atClient, args, "heard");
    },
  },
  {
    name: "namespaces_do_not_mix",
    async run(ctx) {
      const client = await ctx.connect({ namespaces: ["/", "/chat"] });
      for (const namespace of ["/", "/chat"]) {
        same(await client.ask("join", ["lobby"], namespace), [OK], `join in ${namespace}`);
      }
      for (const namespace of ["/", "/chat"]) {
        const heard = client.event("m", namespace);
        await ctx.gateway.emit("m", [namespace], { namespace, rooms: ["lobby"] });
        same(await heard, [namespace], `heard in ${namespace}`);
      }
    },
  },
  {
    name: "published_messages_keep_their_order",
    async run(ctx) {
      const client = await ctx.connect();
      same(await client.ask("join", ["news"]), [OK], "join");
      for (let n = 0; n < 100; n += 1) await ctx.gateway.emit("n", [n], { rooms: ["news"] });
      for (let n = 0; n < 100; n += 1) same(await client.event("n"), [n], "in order");
    },
  },
  {
    name: "wrong_token_is_refused_and_the_right_one_let_in",
    needs: "guarded",
    async run(ctx) {
      const refused = await ctx.start({ namespaces: ["/guarded"], auth: { token: "wrong" } });
      const { data } = await refused.next("refused");
      truth(JSON.stringify(data).includes("E_AUTH"), `refusal data ${JSON.stringify(data)}`);
      const client = await ctx.connect({ namespaces: ["/guarded"], auth: { token: "good" } });
      same(await client.ask("hello", [], "/guarded"), [OK], "answer");
    },
  },
  {
    name: "comes_back_after_the_server_did",
    needs: "own",
    async run(ctx) {
      const client = await ctx.connect();
      await ctx.restart();
      await client.next("disconnected");
      await client.next("connected");
      same(await client.ask("still here", []), [OK], "answer");
    },
  },
];
