// What reaches a gateway from Redis: the channels of its own rooms and no others, so that traffic per gateway stays
// the same however many gateways and rooms there are.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { within } from "../clients/deadline.mjs";
import { eventually } from "./kit/eventually.mjs";
import { WITH_GATEWAYS } from "./kit/matrix.mjs";
import { Member } from "./kit/member.mjs";
import { startParticipant } from "./kit/participants.mjs";
import { startRedis } from "./kit/redis.mjs";

const ROOMS = 1000;

/** Rooms with members on one node: with eight nodes every room has some. */
const ROOMS_PER_NODE = 125;

/** Roughly a chat message with its names and times. */
const TEXT = "x".repeat(256);

/** Redis answers `:1` and a line end to each PUBLISH. */
const REPLY_BYTES = 4;

/** What heartbeats, INFO itself and answers to questions may add, as a share. */
const FLAT = 1.25;

/**
 * Starts `count` nodes, publishes once to each of the 1,000 rooms, and gives the bytes that Redis wrote per node.
 * `inspect(redis, members)` looks at the nodes before they end.
 */
async function bytesPerNode(spec, count, inspect = () => {}) {
  const redis = await startRedis();
  const started = [];
  try {
    for (let node = 0; node < count; node += 1)
      started.push(await startParticipant(`node ${node}`, { ...spec, redis }));
    const members = await Promise.all(started.map(joinRooms));
    const publisher = await startParticipant("publisher", publisherFor(spec, redis));
    started.push(publisher);
    await inspect(redis, members);
    const bytes = await outputOf(redis, () => publishToAll(publisher, members));
    for (const { socket } of members) socket.close();
    return (bytes - ROOMS * REPLY_BYTES) / count;
  } finally {
    const ends = await Promise.allSettled(started.map((each) => each.stop()));
    await redis.stop();
    for (const end of ends) assert.equal(end.status, "fulfilled", end.reason?.message);
  }
}

function publisherFor({ adapter }, redis) {
  // The emitter knows the classic channels only.
  return adapter?.endsWith("sharded")
    ? { kind: "server-4-sharded", adapter: "sharded", mode: "dynamic", redis }
    : { kind: "emitter-5", redis };
}

async function joinRooms(server, node) {
  const rooms = Array.from({ length: ROOMS_PER_NODE }, (_, index) => roomName(node * ROOMS_PER_NODE + index));
  const member = await Member.connect(server, "member");
  await Promise.all(rooms.map((room) => member.join(room)));
  return member;
}

function roomName(number) {
  return `room ${number}`;
}

async function publishToAll(publisher, members) {
  const all = members.map((member) => within(countOf(member, ROOMS_PER_NODE), `all messages at ${member.name}`));
  for (let room = 0; room < ROOMS; room += 1) {
    await publisher.do("emit", { rooms: [roomName(room)], event: "m", args: [room, TEXT] });
  }
  await Promise.all(all);
  for (const member of members) assert.equal(member.got("m").length, ROOMS_PER_NODE, member.name);
}

function countOf(member, count) {
  let seen = 0;
  return new Promise((resolve) => {
    member.socket.on("m", () => {
      seen += 1;
      if (seen === count) resolve();
    });
  });
}

async function outputOf(redis, work) {
  const before = await redis.info("total_net_output_bytes");
  await work();
  return (await redis.info("total_net_output_bytes")) - before;
}

/** Exactly the channels of the namespace, of each room and of each socket, and each on one connection. */
async function assertChannels(redis, members) {
  const rooms = members.flatMap((member) => [member.id, ...member.rooms]);
  const wanted = ["socket.io#/#", ...rooms.map((room) => `socket.io#/#${room}#`)].sort();
  const subscribed = await redis.admin.call("PUBSUB", "CHANNELS", "socket.io#/#*");
  assert.deepEqual(subscribed.sort(), wanted);
  for (const room of rooms) assert.equal(await redis.subscribers("NUMSUB", `socket.io#/#${room}#`), 1, room);
  assert.equal(await redis.admin.call("PUBSUB", "NUMPAT"), 0, "no patterns");
}

function print(name, figures) {
  for (const [count, bytes] of figures) console.log(`${name}: ${count} nodes, ${Math.round(bytes)} bytes per node`);
}

test("Node's classic adapter receives every message of the namespace on every node", async () => {
  const spec = { kind: "server-4" };
  const figures = [
    [1, await bytesPerNode(spec, 1)],
    [2, await bytesPerNode(spec, 2)],
  ];
  print("server-4", figures);
  // So that what is measured below would show it.
  for (const [, bytes] of figures) assert.ok(bytes > ROOMS * TEXT.length, `${bytes} bytes`);
});

describe("gateways", { skip: !WITH_GATEWAYS && "a reference run" }, () => {
  test("traffic per gateway stays flat with 1, 2, 4 and 8 of them", async () => {
    const figures = [];
    for (const count of [1, 2, 4, 8]) {
      figures.push([count, await bytesPerNode({ kind: "gateway", adapter: "redis" }, count, assertChannels)]);
    }
    print("gateway, redis", figures);
    const [[, alone]] = figures;
    for (const [count, bytes] of figures) assert.ok(bytes < alone * FLAT, `${count}: ${bytes}, alone ${alone}`);
    assert.ok(alone < ROOMS_PER_NODE * TEXT.length * 2, `${alone} bytes for ${ROOMS_PER_NODE} messages`);
  });

  test("traffic per gateway stays flat with shard channels, too", async () => {
    const figures = [];
    for (const count of [1, 4]) {
      figures.push([count, await bytesPerNode({ kind: "gateway", adapter: "redis-sharded" }, count)]);
    }
    print("gateway, redis-sharded", figures);
    const [[, alone], [, four]] = figures;
    assert.ok(four < alone * FLAT, `${four}, alone ${alone}`);
  });

  for (const adapter of ["redis", "redis-sharded"]) {
    describe(adapter, () => {
      const parts = [];
      after(async () => {
        for (const part of parts.reverse()) await part.stop();
      });

      test("a message published after an acknowledged join arrives; a left room is unsubscribed", async () => {
        const redis = await startRedis();
        parts.push(redis);
        const gateway = await startParticipant("gateway", { kind: "gateway", adapter, redis });
        const publisher = await startParticipant("publisher", publisherFor({ adapter }, redis));
        parts.push(gateway, publisher);
        const member = await Member.connect(gateway, "member");
        for (let number = 0; number < 200; number += 1) {
          await member.join(roomName(number));
          await publisher.do("emit", { rooms: [roomName(number)], event: "m", args: [number] });
        }
        const meant = Array.from({ length: 200 }, (_, number) => [number]);
        await eventually(() => member.got("m").length >= meant.length, "all messages");
        assert.deepEqual(member.got("m"), meant);

        await Promise.all([...member.rooms].map((room) => member.leave(room)));
        const list = adapter === "redis" ? "CHANNELS" : "SHARDCHANNELS";
        const left = async () => (await redis.admin.call("PUBSUB", list, "socket.io#/#room*")).length;
        await eventually(async () => (await left()) === 0, "no channel of a room is left");
        member.close();
      });
    });
  }
});
