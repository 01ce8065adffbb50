// The publish API while connections of its callers are cut, and while Redis is slow or stands still: two gateways, a
// process without clients and a Node server on one Redis.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";

import { within } from "../clients/deadline.mjs";
import { callOptions, connectPublisher } from "../clients/publisher.mjs";
import { stopAll } from "./kit/cluster.mjs";
import { eventually } from "./kit/eventually.mjs";
import { WITH_GATEWAYS } from "./kit/matrix.mjs";
import { Member } from "./kit/member.mjs";
import { startParticipant } from "./kit/participants.mjs";
import { Proxy } from "./kit/proxy.mjs";
import { startRedis } from "./kit/redis.mjs";

const ROOM = "everybody";

/** Publishes of the storm, how many of them at once, and how many callers retry each at once. */
const STORM = 200;
const AT_ONCE = 20;
const CALLERS = 3;
/** With every so many answers the connections that lead one way are cut; others are on their way for so many ms. */
const CUT_EVERY = 20;
const LATENCY_MS = 5;
/** How long an attempt of the storm may take, in ms. */
const ATTEMPT_MS = 1000;

/** Messages of the stream, and the bytes of each. */
const STREAMED = 8000;
const TEXT = "x".repeat(1000);
/**
 * The most that may be on its way between caller and Redis: 256 messages that wait for their answer, and what HTTP/2
 * windows and the buffers of the library hold of 1,000 bytes each.
 */
const ON_THE_WAY_MAX = 3000;
/** What a stream on its way may add to the memory of a publisher, in bytes. */
const MEMORY_MAX = 24 << 20;

const DEADLINE_EXCEEDED = 4;
const UNAVAILABLE = 14;

/** Libraries wait longer and longer before they connect again; here they are not to. */
const EAGER = { "grpc.initial_reconnect_backoff_ms": 20, "grpc.min_reconnect_backoff_ms": 20, "grpc.max_reconnect_backoff_ms": 50 };

describe("publishing through faults", { skip: !WITH_GATEWAYS }, () => {
  let redis, slow, publisher, first, second, node;
  let participants = [];
  let members = [];

  before(async () => {
    redis = await startRedis();
    slow = await Proxy.start(redis.port);
    const through = { url: slow.url };
    const starting = [
      ["publisher", { kind: "publisher", redis: through }],
      ["gateway-1", { kind: "gateway", redis }],
      ["gateway-2", { kind: "gateway", redis }],
      ["server", { kind: "server-4", redis }],
    ].map(([name, spec]) => startParticipant(name, spec));
    participants = await Promise.all(starting);
    [publisher, first, second, node] = participants;
    const serving = [first, second, node];
    members = await Promise.all(serving.map((each) => Member.connect(each, "member", { rooms: [ROOM] })));
    const reached = async () => (await ask(first.calls, "CountSockets", { targets: {} })).sockets === "3";
    await eventually(reached, "all sockets are known");
  });

  test("a storm of retries through connections that are cut delivers once, and gives the first answer", async () => {
    const proxies = await Promise.all([first, second].map((each) => Proxy.start(Number(each.grpcAddress.split(":")[1]))));
    const ways = proxies.map((proxy) => connectPublisher(proxy.address, { ...EAGER, "grpc.use_local_subchannel_pool": 1 }));
    for (const proxy of proxies) proxy.slow({ latencyMs: LATENCY_MS, bytesPerSecond: Infinity });
    let given = 0;
    let attempts = 0;
    let failed = 0;
    const publish = async (number, caller) => {
      const request = {
        message: { event: "storm", rooms: [ROOM], arguments: `[${number}]` },
        idempotency_key: `storm ${number}`,
        report: number % 2 === 0 ? "REPORT_REACH" : "REPORT_ACCEPTED",
      };
      for (let attempt = caller; ; attempt += 1) {
        attempts += 1;
        try {
          const answer = await ask(ways[attempt % ways.length], "Publish", request, ATTEMPT_MS);
          given += 1;
          if (given % CUT_EVERY === 0) cut(proxies[(given / CUT_EVERY) % proxies.length]);
          return answer;
        } catch (error) {
          assert.ok([DEADLINE_EXCEEDED, UNAVAILABLE].includes(error.code), error.message);
          failed += 1;
        }
      }
    };
    try {
      const numbers = Array.from({ length: STORM }, (_, number) => number);
      const answers = [];
      const rest = numbers.values();
      const publishRest = async () => {
        for (const number of rest)
          answers[number] = await Promise.all(Array.from({ length: CALLERS }, (_, caller) => publish(number, caller)));
      };
      await within(Promise.all(Array.from({ length: AT_ONCE }, publishRest)), "the end of the storm", 60_000);
      for (const [number, all] of answers.entries())
        for (const answer of all) assert.deepEqual(answer, all[0], `answers to ${number}`);
      assert.equal(new Set(answers.map(([{ message_id: id }]) => id)).size, STORM, "one id for each");
      assert.ok(failed >= STORM / 10, `only ${failed} of ${attempts} attempts failed: no storm`);
      for (const member of members) {
        await eventually(() => member.got("storm").length >= STORM, `all messages at ${member.name}`);
      }
      await ask(first.calls, "Publish", { message: { event: "calm", rooms: [ROOM] } });
      for (const member of members) {
        await eventually(() => member.got("calm").length === 1, `the last message at ${member.name}`);
        assert.deepEqual(member.got("storm").map(([number]) => number).sort((a, b) => a - b), numbers, member.name);
      }
    } finally {
      for (const way of ways) way.close();
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    }
  });

  test("a stream is in order everywhere while Redis is slow and stands still, and its sender is held", async () => {
    slow.slow({ latencyMs: 20, bytesPerSecond: 4 << 20 });
    const before = publisher.residentBytes();
    const stream = publisher.calls.PublishStream(...callOptions(90_000));
    let answered = 0;
    let written = 0;
    let most = 0;
    stream.on("data", ({ sequence, published, error }) => {
      assert.ok(published, error?.message);
      assert.equal(Number(sequence), answered, "answers in order");
      answered += 1;
    });
    const ended = once(stream, "end");
    const writing = (async () => {
      for (; written < STREAMED; written += 1) {
        most = Math.max(most, written - answered);
        const message = { event: "stream", rooms: [ROOM], arguments: JSON.stringify([written, TEXT]) };
        if (!stream.write({ sequence: written, message })) await once(stream, "drain");
      }
      stream.end();
    })();
    await eventually(() => answered > STREAMED / 10, "the stream flows");
    redis.suspend();
    try {
      // Redis takes nothing: no answer comes, and soon the sender cannot write.
      let last = -1;
      const isHeld = () => {
        const still = written === last && written - answered > 0;
        last = written;
        return still;
      };
      await eventually(isHeld, "the sender is held");
      assert.ok(written < STREAMED, "the sender is not held");
    } finally {
      redis.resume();
    }
    await within(Promise.all([writing, ended]), "the end of the stream", 60_000);
    const grown = publisher.residentBytes() - before;
    slow.heal();
    assert.equal(answered, STREAMED);
    assert.ok(most < ON_THE_WAY_MAX, `${most} messages on their way at once`);
    assert.ok(grown < MEMORY_MAX, `the publisher has grown by ${grown} bytes`);
    const numbers = Array.from({ length: STREAMED }, (_, number) => number);
    for (const member of members) {
      await eventually(() => member.got("stream").length === STREAMED, `all messages at ${member.name}`);
      assert.deepEqual(member.got("stream").map(([number]) => number), numbers, member.name);
    }
  });

  test("calls whose deadline passes while Redis stands still end in time, and leave nothing behind", async () => {
    redis.suspend();
    try {
      const requests = [
        ["Publish", { message: { event: "late", rooms: [ROOM] } }],
        ["Publish", { message: { event: "late", rooms: [ROOM] }, report: "REPORT_REACH" }],
        ["Publish", { message: { event: "late", rooms: [ROOM] }, idempotency_key: "late" }],
        ["PublishBatch", { messages: [{ event: "late", rooms: [ROOM] }] }],
        ["CountSockets", { targets: {} }],
        ["JoinRooms", { targets: { rooms: ["nobody"] }, rooms: ["more"], report: "REPORT_REACH" }],
        ["ListRooms", {}],
      ];
      const started = Date.now();
      const calls = [publisher, first].flatMap(({ calls: way }) =>
        requests.map(([method, request]) => ask(way, method, request, 300).then(() => null, ({ code }) => code)),
      );
      for (const code of await Promise.all(calls))
        assert.ok([DEADLINE_EXCEEDED, UNAVAILABLE].includes(code), `status ${code}`);
      assert.ok(Date.now() - started < 2000, "in time");
    } finally {
      redis.resume();
    }
    for (const by of [publisher, first]) {
      const whole = async () => (await ask(by.calls, "CountSockets", { targets: {} })).coverage.nodes_answered === 3;
      await eventually(whole, `${by.name} is answered again`);
    }
  });

  after(async () => {
    for (const member of members) member.close();
    try {
      await stopAll(participants);
    } finally {
      await slow?.stop();
      await redis?.stop();
    }
  });
});

/** Ends the connections that lead through `proxy`; new ones are let through. */
function cut(proxy) {
  proxy.cut();
  proxy.heal();
  proxy.slow({ latencyMs: LATENCY_MS, bytesPerSecond: Infinity });
}

/** The answer of a call that is neither given nor answered as a stream. */
function ask(calls, method, request, patienceMs) {
  return new Promise((resolve, reject) => {
    calls[method](request, ...callOptions(patienceMs), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}
