// What the publish API tells of nodes that fail: on two gateways and a Node server, by a gateway and by a process
// without clients, while one gateway is killed, or stands still.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { within } from "../clients/deadline.mjs";
import { callOptions } from "../clients/publisher.mjs";
import { stopAll } from "./kit/cluster.mjs";
import { eventually } from "./kit/eventually.mjs";
import { WITH_GATEWAYS } from "./kit/matrix.mjs";
import { Member } from "./kit/member.mjs";
import { startParticipant } from "./kit/participants.mjs";
import { startRedis } from "./kit/redis.mjs";

/** How long nodes have at most to answer, and what calls may take beyond it, in ms. */
const TIMEOUT_MS = 5000;
const SLACK_MS = 2000;

const REPORT = "REPORT_REACH";
const ROOM = "everybody";

for (const [adapter, server] of [
  ["redis", { kind: "server-4" }],
  ["redis-sharded", { kind: "server-4-sharded", adapter: "sharded" }],
]) {
  describe(`who did not answer, ${adapter}`, { skip: !WITH_GATEWAYS }, () => {
    let redis, publisher, first, second, node;
    let participants = [];
    let members = [];

    before(async () => {
      redis = await startRedis();
      const mode = adapter === "redis-sharded" ? "dynamic" : undefined;
      const starting = [
        ["publisher", { kind: "publisher", adapter }],
        ["gateway-1", { kind: "gateway", adapter }],
        ["gateway-2", { kind: "gateway", adapter }],
        ["server", server],
      ].map(([name, spec]) => startParticipant(name, { ...spec, redis, mode }));
      participants = await Promise.all(starting);
      [publisher, first, second, node] = participants;
      const serving = [first, second, node];
      members = await Promise.all(serving.map((each) => Member.connect(each, "member", { rooms: [ROOM] })));
      for (const by of [publisher, first])
        await eventually(async () => (await ask(by, "CountSockets", { targets: {} })).sockets === "3", "all are counted");
    });

    /** The coverage and counts of `method`, which has to end in the time that nodes have. */
    async function coverageOf(by, method, request) {
      const started = Date.now();
      const { coverage } = await outcomeOf(by, method, request);
      const took = Date.now() - started;
      assert.ok(took < TIMEOUT_MS + SLACK_MS, `${method} took ${took} ms`);
      return coverage;
    }

    const calls = [
      ["Publish", { message: { event: "e", rooms: [ROOM] }, report: REPORT }],
      ["PublishBatch", { messages: [1, 2, 3].map(() => ({ event: "e", rooms: [ROOM] })), report: REPORT }],
      ["PublishStream", { message: { event: "e", rooms: [ROOM] }, report: REPORT }],
      ["Call", { message: { event: "silent question", rooms: [ROOM] }, timeout_ms: 1000 }],
      ["JoinRooms", { targets: { rooms: [ROOM] }, rooms: ["more"], report: REPORT }],
      ["LeaveRooms", { targets: { rooms: [ROOM] }, rooms: ["more"], report: REPORT }],
      ["DisconnectSockets", { targets: { rooms: ["nobody"] }, report: REPORT }],
      ["FetchSockets", { targets: {}, timeout_ms: 1000 }],
      ["CountSockets", { targets: { except: ["nobody"] }, timeout_ms: 1000 }],
      ["ListRooms", { timeout_ms: 1000 }],
      ["ServerSideEmit", { event: "question", arguments: "[]", answers: true, timeout_ms: 1000 }],
    ];
    /** Those of which Node servers cannot tell. */
    const reported = ["Publish", "PublishBatch", "PublishStream", "JoinRooms", "LeaveRooms", "DisconnectSockets"];

    for (const [method, request] of calls) {
      test(`${method}: all answer, by both`, async () => {
        const answered = reported.includes(method) ? 2 : 3;
        const whole = { nodes_asked: 3, nodes_answered: answered, nodes_missing: [], partial: answered < 3 };
        for (const by of [publisher, first]) assert.deepEqual(await coverageOf(by, method, request), whole, by.name);
      });
    }

    test("each message of a stream is told of in order, whether it is reported on or not", async () => {
      const stream = publisher.calls.PublishStream(...callOptions());
      const answers = within(all(stream), "the answers of the stream");
      const event = `ordered by ${adapter}`;
      for (let sequence = 0; sequence < 100; sequence += 1) {
        const report = sequence % 3 === 0 ? REPORT : "REPORT_ACCEPTED";
        stream.write({ sequence, message: { event, rooms: [ROOM], arguments: `[${sequence}]` }, report });
      }
      stream.end();
      for (const [index, { sequence, published }] of (await answers).entries()) {
        assert.equal(Number(sequence), index);
        assert.equal(published.reach?.sockets_written, index % 3 === 0 ? "2" : undefined);
      }
      const numbers = Array.from({ length: 100 }, (_, number) => [number]);
      for (const member of members) {
        await eventually(() => member.got(event).length === numbers.length, `all messages at ${member.name}`);
        assert.deepEqual(member.got(event), numbers, member.name);
      }
    });

    test("what is published to a room behind a join that was told of reaches all who joined", async () => {
      for (let number = 0; number < 50; number += 1) {
        const room = `joined ${number}`;
        const { coverage } = await ask(publisher, "JoinRooms", { targets: { rooms: [ROOM] }, rooms: [room], report: REPORT });
        assert.equal(coverage.nodes_answered, 2);
        const message = { event: "behind", rooms: [room], arguments: `[${number}]` };
        await ask([publisher, first, second][number % 3], "Publish", { message });
      }
      const numbers = Array.from({ length: 50 }, (_, number) => [number]);
      for (const member of members.filter(({ server: { kind } }) => kind === "gateway")) {
        await eventually(() => member.got("behind").at(-1)?.[0] === 49, `the last at ${member.name}`);
        assert.deepEqual(member.got("behind"), numbers, member.name);
      }
    });

    test("a gateway that stands still is named within the time, by every call", async () => {
      await eventually(bothLive, "both leases run");
      second.suspend();
      try {
        const asked = [publisher, first].flatMap((by) => calls.map(([method, request]) => [by, method, request]));
        const standing = asked.map(async ([by, method, request]) => {
          const coverage = await coverageOf(by, method, request);
          assert.deepEqual(coverage.nodes_missing, ["gateway-2"], `${method}, by ${by.name}`);
          assert.equal(coverage.nodes_answered, coverage.nodes_asked - (reported.includes(method) ? 2 : 1), method);
          assert.equal(coverage.partial, true);
        });
        await Promise.all(standing);
      } finally {
        second.resume();
      }
    });

    /** Whether both gateways have said of late that they live. */
    async function bothLive() {
      const keys = await redis.admin.keys("socket.io-roomcast-node:*");
      const left = await Promise.all(keys.map((key) => redis.admin.pttl(key)));
      return left.filter((ms) => ms > TIMEOUT_MS / 2).length === 2;
    }

    test("a gateway that is killed while a stream flows is named, and the stream goes on", async () => {
      await eventually(bothLive, "both leases run");
      const stream = publisher.calls.PublishStream(...callOptions());
      const answers = within(all(stream), "the answers of the stream");
      const write = (sequence) =>
        stream.write({ sequence, message: { event: "flows", rooms: [ROOM] }, report: REPORT });
      for (let sequence = 0; sequence < 50; sequence += 1) write(sequence);
      await second.kill();
      for (let sequence = 50; sequence < 100; sequence += 1) write(sequence);
      stream.end();
      const given = await answers;
      assert.deepEqual(
        given.map(({ sequence }) => Number(sequence)),
        Array.from({ length: 100 }, (_, number) => number),
      );
      const { coverage } = given.at(-1).published.reach;
      assert.deepEqual(coverage, { nodes_asked: 3, nodes_answered: 1, nodes_missing: ["gateway-2"], partial: true });
      for (const [method, request] of calls.slice(0, 3)) {
        const { nodes_missing: missing } = await coverageOf(first, method, request);
        // Its lease may run out now.
        assert.ok(missing.length === 0 || missing[0] === "gateway-2", `${method}: ${missing}`);
      }
    });

    after(async () => {
      for (const member of members) member.close();
      try {
        await stopAll(participants.filter((each) => each !== second));
      } finally {
        await redis?.stop();
      }
    });
  });
}

/** The answer of a call that is neither given nor answered as a stream. */
function ask(participant, method, request) {
  return new Promise((resolve, reject) => {
    participant.calls[method](request, ...callOptions(), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Where a call says which nodes it speaks for. */
async function outcomeOf(by, method, request) {
  switch (method) {
    case "Publish":
      return (await ask(by, method, request)).reach;
    case "PublishBatch":
      return (await ask(by, method, request)).published.at(-1).reach;
    case "PublishStream": {
      const stream = by.calls.PublishStream(...callOptions());
      stream.end({ sequence: 1, ...request });
      return (await all(stream))[0].published.reach;
    }
    case "Call":
      return (await all(by.calls.Call(request, ...callOptions()))).at(-1).summary;
    case "FetchSockets":
      return (await all(by.calls.FetchSockets(request, ...callOptions()))).at(-1);
    default:
      return ask(by, method, request);
  }
}

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}
