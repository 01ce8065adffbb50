// The publish API of a process without clients, in front of two gateways and a Node server on one Redis: each of its
// calls, looked at by real clients everywhere, and nobody takes it for a node with sockets.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { within } from "../clients/deadline.mjs";
import { callOptions } from "../clients/publisher.mjs";
import { Cluster, stopAll } from "./kit/cluster.mjs";
import { eventually } from "./kit/eventually.mjs";
import { WITH_GATEWAYS, matrix } from "./kit/matrix.mjs";
import { startParticipant } from "./kit/participants.mjs";
import { startRedis } from "./kit/redis.mjs";
import { OPERATIONS } from "./operations.mjs";

const STREAMED = 500;

/** The number of nodes with clients in what follows. */
const NODES = 3;

matrix("a publisher, redis", {
  specs: {
    publisher: { kind: "publisher", adapter: "redis" },
    "gateway-1": { kind: "gateway", adapter: "redis" },
    "gateway-2": { kind: "gateway", adapter: "redis" },
    server: { kind: "server-4" },
  },
  operations: OPERATIONS,
});

matrix("a publisher, redis-sharded", {
  mode: "dynamic",
  specs: {
    publisher: { kind: "publisher", adapter: "redis-sharded" },
    "gateway-1": { kind: "gateway", adapter: "redis-sharded" },
    "gateway-2": { kind: "gateway", adapter: "redis-sharded" },
    server: { kind: "server-4-sharded", adapter: "sharded" },
  },
  operations: OPERATIONS,
});

describe("a publisher", { skip: !WITH_GATEWAYS }, () => {
  let redis, publisher, cluster;
  let participants = [];

  before(async () => {
    redis = await startRedis();
    const specs = { publisher: "publisher", "gateway-1": "gateway", "gateway-2": "gateway", server: "server-4" };
    const starting = Object.entries(specs).map(([name, kind]) => startParticipant(name, { kind, redis }));
    participants = await Promise.all(starting);
    [publisher] = participants;
    cluster = await Cluster.form({ redis, participants });
  });

  /** The answer of a call that is neither given nor answered as a stream. */
  function ask(method, request) {
    return new Promise((resolve, reject) => {
      publisher.calls[method](request, ...callOptions(), (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  /** Asserts that each client in r1 has got `event` with the numbers from 0 on, and no other client anything. */
  async function assertInOrder(event, count) {
    await cluster.fence(publisher, ["r1"]);
    for (const member of cluster.members) {
      const meant = member.isIn(["r1"]) ? Array.from({ length: count }, (_, number) => [number]) : [];
      assert.deepEqual(member.got(event), meant, member.name);
    }
  }

  test("PublishBatch: in order at every client of every node", async () => {
    const event = cluster.fresh("batch");
    const messages = Array.from({ length: 100 }, (_, number) => ({ event, rooms: ["r1"], arguments: `[${number}]` }));
    const { published } = await ask("PublishBatch", { messages });
    assert.equal(new Set(published.map(({ message_id: id }) => id)).size, messages.length);
    await assertInOrder(event, messages.length);
  });

  test("PublishStream: answers in order, and messages in order at every client of every node", async () => {
    const event = cluster.fresh("stream");
    const stream = publisher.calls.PublishStream(...callOptions());
    const answered = within(sequencesOf(stream), "the answers of the stream");
    for (let number = 0; number < STREAMED; number += 1)
      stream.write({ sequence: number, message: { event, rooms: ["r1"], arguments: `[${number}]` } });
    stream.end();
    assert.deepEqual(
      await answered,
      Array.from({ length: STREAMED }, (_, number) => number),
    );
    await assertInOrder(event, STREAMED);
  });

  test("answers speak for the nodes with clients, and not for itself", async () => {
    const { sockets, coverage } = await ask("CountSockets", { targets: {}, timeout_ms: 5000 });
    assert.equal(Number(sockets), cluster.members.length);
    assert.deepEqual(coverage, { nodes_asked: NODES, nodes_answered: NODES, nodes_missing: [], partial: false });
  });

  test("it is counted by nobody", async () => {
    await ask("CountSockets", { targets: {}, timeout_ms: 5000 });
    assert.equal(await redis.subscribers("NUMSUB", "socket.io-request#/#"), NODES);
    const known = await redis.admin.smembers("socket.io-roomcast-nodes");
    assert.equal(known.length, NODES - 1, "leases are those of the gateways");
  });

  test("it gives back what it listens to once its answers have come", async () => {
    await ask("CountSockets", { targets: { namespace: "/lonely" }, timeout_ms: 200 });
    const unheard = async () => (await redis.subscribers("NUMSUB", "socket.io-response#/lonely#")) === 0;
    await eventually(unheard, "no subscription to answers of /lonely");
  });

  test("without Redis it is unready, and says so to whoever publishes", async () => {
    await redis.kill();
    await eventually(async () => (await publisher.readiness()) === 503, "unready");
    await assert.rejects(ask("Publish", { message: { event: "e" } }), /UNAVAILABLE.*Redis is away/);
    await redis.start();
    await eventually(async () => (await publisher.readiness()) === 200, "ready again");
    await ask("Publish", { message: { event: "e" } });
  });

  test("SIGTERM ends it without delay although a stream is open, and the stream says why", async () => {
    const leaving = await startParticipant("leaving", { kind: "publisher", redis });
    const stream = leaving.calls.PublishStream(...callOptions());
    const answer = new Promise((resolve) => stream.once("data", resolve));
    const end = new Promise((resolve) => stream.once("error", resolve));
    stream.write({ sequence: 1, message: { event: "last" } });
    const { published } = await within(answer, "the answer").finally(() => leaving.stop());
    assert.ok(published);
    assert.match((await within(end, "the end of the stream")).message, /^14 UNAVAILABLE: this server stops/);
    assert.match(leaving.log, /publisher_stopped/);
    assert.doesNotMatch(leaving.log, /calls_cut_off/);
  });

  after(async () => {
    try {
      await (cluster ? cluster.dissolve() : stopAll(participants));
    } finally {
      await redis?.stop();
    }
  });
});

/** The sequence numbers that a stream is answered with, once it has ended. */
async function sequencesOf(stream) {
  const sequences = [];
  for await (const { sequence, published, error } of stream) {
    assert.ok(published && !error, error?.message);
    sequences.push(Number(sequence));
  }
  return sequences;
}
