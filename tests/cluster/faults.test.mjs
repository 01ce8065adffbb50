// Redis, the network and gateways that fail while messages flow: each fault is told within seconds, clients of one
// gateway reach each other all the time, and when it is over everything is as before, with nothing delivered twice.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";

import { eventually } from "./kit/eventually.mjs";
import { Fleet, ROOM, Watched } from "./kit/fleet.mjs";
import { Member } from "./kit/member.mjs";
import { Proxy } from "./kit/proxy.mjs";
import { startRedis } from "./kit/redis.mjs";
import { startSentinels } from "./kit/sentinel.mjs";

/** How soon readiness and metrics tell of a fault, in ms; longer on a machine that has more to do than cores. */
const TOLD_MS = 5000;

/** By how much the memory of a gateway may grow over a fault, in bytes: measured are up to 2 MB. */
const GROWTH_MAX = 32 << 20;

/** What may wait for a Redis that stands still, and what is published meanwhile, in bytes. */
const QUEUE_BYTES = 1 << 20;
const FLOOD_BYTES = 16 << 20;
/** Small enough that as many as may wait for the thread that talks to Redis, 4,096, are half of GROWTH_MAX. */
const FLOOD_TEXT = "x".repeat(4 << 10);
/** Messages between two looks at the figures. */
const FLOOD_PACE = 32;

/** Faults at once: most of their time is waiting. */
const AT_ONCE = 3;

/** Of requests to all gateways, in ms. */
const ASK_MS = 1000;

/** Both adapters with `cargo xtask test --long`. */
const ADAPTERS = process.env.LONG === "1" ? ["redis", "redis-sharded"] : ["redis"];

for (const adapter of ADAPTERS) {
  describe(`faults, ${adapter}`, { concurrency: AT_ONCE }, () => {
    test("Redis is killed and comes back empty", () => {
      return onRedis({ adapter }, async ({ redis, fleet }) => {
        await outage("Redis killed", fleet, redis, { begin: () => redis.kill(), end: () => redis.start() });
      });
    });

    test("Redis is stopped and goes on", () => {
      return onRedis({ adapter }, async ({ redis, fleet }) => {
        await outage("Redis stopped", fleet, redis, { begin: () => redis.suspend(), end: () => redis.resume() });
      });
    });

    test("Redis stands still under a flood: what waits for it is bounded, and what it gets at last is in order", () => {
      return flood(adapter);
    });

    test("Redis wants another password, and the file with it comes later", async () => {
      const folder = mkdtempSync(join(tmpdir(), "roomcast-password-"));
      const file = join(folder, "password");
      writeFileSync(file, "the-first\n");
      const env = { ROOMCAST__REDIS__PASSWORD_FILE: file };
      await onRedis({ adapter, env, settings: { requirepass: "the-first" } }, async ({ redis, fleet }) => {
        const begin = async () => {
          await redis.kill();
          await redis.start({ requirepass: "the-second" });
        };
        const end = async () => {
          for (const gateway of fleet.gateways) {
            const isNamed = () => /WRONGPASS.*redis\.password_file/.test(gateway.log);
            await eventually(isNamed, "the log names the cause and the key");
          }
          writeFileSync(file, "the-second\n");
        };
        await outage("another password", fleet, redis, { begin, end });
        for (const { log } of fleet.gateways) assert.doesNotMatch(log, /the-(first|second)/, "no password is told");
      });
      rmSync(folder, { recursive: true });
    });

    test("Redis ends the connections of all gateways, again and again", () => {
      return onRedis({ adapter }, async ({ redis, fleet }) => {
        for (let round = 0; round < 3; round += 1) {
          const before = await Promise.all(fleet.gateways.map(reconnects));
          const until = deadline();
          for (const type of ["pubsub", "normal"]) await redis.admin.client("KILL", "TYPE", type, "SKIPME", "yes");
          for (const [index, gateway] of fleet.gateways.entries()) {
            const told = async () => (await reconnects(gateway)) >= before[index] + 2;
            await eventually(told, `${gateway.name} tells of new connections`, until - Date.now());
          }
          await fleet.isWhole(redis);
          await fleet.flows();
        }
        await account("connections ended", fleet);
      });
    });

    test("the network cuts all connections for a while", () => {
      return onProxies({ adapter }, async ({ redis, fleet, proxies }) => {
        const begin = () => proxies.forEach((proxy) => proxy.cut());
        const end = () => proxies.forEach((proxy) => proxy.heal());
        await outage("connections cut", fleet, redis, { begin, end });
      });
    });

    test("one gateway is parted from Redis, and only this one says so", () => {
      return onProxies({ adapter }, async ({ redis, fleet, proxies }) => {
        const affected = [fleet.gateways[0]];
        await outage("partition", fleet, redis, {
          begin: () => proxies[0].hold(),
          end: () => proxies[0].heal(),
          affected,
        });
      });
    });

    test("a slow link delays, and loses nothing", () => {
      return onProxies({ adapter }, async ({ redis, fleet, proxies }) => {
        const until = deadline();
        for (const proxy of proxies) proxy.slow({ latencyMs: 200, bytesPerSecond: 200_000 });
        for (const gateway of fleet.gateways) {
          const told = async () => (await gateway.figures()).roomcast_redis_heartbeat_seconds >= 0.4;
          await eventually(told, "the metrics tell how slow it is", until - Date.now());
          assert.deepEqual(await gateway.unready(), [], "it is ready");
        }
        await fleet.listen(fleet.gateways[1]);
        await fleet.flows();
        for (const proxy of proxies) proxy.heal();
        await fleet.isWhole(redis);
        await fleet.flows();
        assertNothingLost(await account("slow link", fleet), fleet);
      });
    });

    test("a gateway is killed, is left out when its lease has run out, and comes back", () => {
      return onRedis({ adapter, gateways: 3 }, async ({ redis, fleet }) => {
        const [one, , killed] = fleet.gateways;
        const living = fleet.gateways.filter((gateway) => gateway !== killed);
        fleet.forget(killed);
        await killed.kill();
        await isPartialUntilTheLeaseEnds(one, 4);
        await fleet.flows({ among: living });
        await killed.restart();
        await fleet.listen(killed);
        await fleet.send(killed);
        await fleet.isWhole(redis);
        await fleet.flows();
        await eventually(() => isComplete(one, 6), "its clients are counted again");
        assertNothingLost(await account("gateway killed", fleet), fleet);
      });
    });

    test("a gateway is stopped, is left out when its lease has run out, and goes on", () => {
      return onRedis({ adapter, gateways: 3 }, async ({ redis, fleet }) => {
        const [one, , stopped] = fleet.gateways;
        const living = fleet.gateways.filter((gateway) => gateway !== stopped);
        await eventually(() => isComplete(one, 6), "all clients are counted");
        stopped.signal("SIGSTOP");
        try {
          await assert.rejects(stopped.unready(), "a stopped process does not say it is ready");
          await isPartialUntilTheLeaseEnds(one, 4);
          await fleet.flows({ among: living });
        } finally {
          stopped.signal("SIGCONT");
        }
        await fleet.isWhole(redis);
        await fleet.flows();
        await eventually(() => isComplete(one, 6), "its clients are counted again");
        await account("gateway stopped", fleet);
      });
    });

    // Sentinels are asked by the same code whatever the adapter.
    const isFirst = adapter === ADAPTERS[0];
    test("Sentinels make another server the master", { skip: !isFirst && "as with the other adapter" }, async () => {
      const sentinels = await startSentinels();
      try {
        const fleet = await Fleet.start([sentinels.url, sentinels.url], { adapter });
        await running(fleet, async () => {
          let failing;
          const begin = () => {
            failing = sentinels.failOver();
          };
          const [old] = sentinels.servers;
          await outage("failover", fleet, old, { begin, end: () => failing, lasts: false });
        });
      } finally {
        await sentinels.stop();
      }
    });
  });
}

/**
 * Lets a fault of Redis begin and end, and proves what has to be so before, during and after. `affected`: the gateways
 * that it concerns; `lasts`: whether it ends only with `end`, which gives the server that is Redis afterwards.
 */
async function outage(name, fleet, redis, { begin, end, affected = fleet.gateways, lasts = true }) {
  const others = fleet.gateways.filter((gateway) => !affected.includes(gateway));
  const began = Date.now();
  const until = deadline();
  const deafBefore = await Promise.all(fleet.gateways.map((gateway) => gateway.deaf()));
  await begin();
  for (const gateway of affected) await eventually(() => tells(gateway), `${gateway.name} tells`, until - Date.now());
  const toldMs = Date.now() - began;

  const told = new Map(fleet.senders.map((sender) => [sender, sender.sent]));
  for (const gateway of affected) await fleet.listen(gateway);
  await fleet.flows({ isLocal: true });
  if (lasts) {
    await fleet.flows({ among: others });
    for (const gateway of others) assert.deepEqual(await gateway.unready(), [], `${gateway.name} is ready`);
    const refused = () => fleet.backEnd.refused.some((words) => /nothing was published/.test(words));
    await eventually(refused, "the back end is told that nothing was published");
  }
  for (const gateway of affected) {
    // Each that came after it was known that Redis is away has left a trace.
    const sender = fleet.senders.find((each) => each.gateway === gateway);
    const areCounted = async () => (await gateway.lost()) >= sender.sent - told.get(sender);
    if (lasts) await eventually(areCounted, `${gateway.name} counts what it loses`);
  }

  const now = (await end()) ?? redis;
  await fleet.isWhole(now);
  const awayMs = Date.now() - began;
  for (const [index, gateway] of fleet.gateways.entries()) {
    const grown = (await gateway.deaf()) - deafBefore[index];
    assert.equal(grown > 0, affected.includes(gateway), `${gateway.name} was deaf for ${grown} s`);
  }
  await fleet.flows();
  return account(name, fleet, { toldMs, awayMs });
}

/**
 * One client publishes large messages as fast as they are acknowledged, while Redis is stopped and when it goes on. The
 * gateway of the one that listens is patient: it keeps its connection, and gets all that Redis had taken before.
 */
async function flood(adapter) {
  const redis = await startRedis();
  const flooded = { ROOMCAST__REDIS__PUBLISH_QUEUE_BYTES: `${QUEUE_BYTES}` };
  const patient = { ROOMCAST__REDIS__HEARTBEAT_TIMEOUT_MS: "60000" };
  const gateways = await Promise.all(
    [flooded, patient].map((env, index) => Watched.start(`gateway ${index + 1}`, redis.url, { adapter, env })),
  );
  const [sender, listener] = await Promise.all(
    gateways.map((gateway) => Member.connect(gateway, "member", { rooms: [ROOM] })),
  );
  let sent = 0;
  const send = async () => sender.ask("m", (sent += 1), FLOOD_TEXT);
  const got = () => listener.got("m").map(([number]) => number);
  try {
    await send();
    await eventually(() => got().length === 1, "the first arrives");
    const before = gateways[0].residentBytes();
    redis.suspend();
    let most = 0;
    do {
      for (let each = 0; each < FLOOD_PACE; each += 1) await send();
      most = Math.max(most, (await gateways[0].figures()).roomcast_redis_queue_bytes);
    } while (sent * FLOOD_TEXT.length < FLOOD_BYTES || (await gateways[0].unready()).length === 0);
    const growth = gateways[0].residentBytes() - before;
    const lost = await gateways[0].lost();
    redis.resume();
    const resumed = sent;
    while (!(got().at(-1) > resumed)) await send();
    await send();
    await eventually(() => got().at(-1) === sent, "the last arrives");
    const mib = Math.round(growth / 2 ** 20);
    const told = { sent, got: got().length, counted: lost, "most in the queue": most, "growth in MiB": mib };
    console.log(`flood: ${JSON.stringify(told)}`);
    assert.ok(lost > 0 && most <= QUEUE_BYTES, `${lost} lost, ${most} in the queue`);
    assert.ok(growth < GROWTH_MAX, `memory grew by ${growth} bytes`);
    assert.deepEqual(got(), [...new Set(got())].sort((one, other) => one - other), "in order, none twice");
  } finally {
    redis.resume();
    for (const member of [sender, listener]) member.close();
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    await redis.stop();
  }
}

/** Whether readiness and all metrics say that Redis is away. */
async function tells(gateway) {
  const reasons = await gateway.unready();
  const figures = await gateway.figures();
  const up = ["publisher", "subscriber"].map((connection) => figures[`roomcast_redis_up{connection="${connection}"}`]);
  const lost = figures.roomcast_redis_publishes_lost_total;
  const isTold = reasons.includes("redis_away") && up.every((value) => value === 0) && lost > 0;
  return isTold ? true : { reasons, up, lost };
}

/** Ends the traffic, proves that nobody was lied to, and states what was lost and how much memory it took. */
async function account(name, fleet, times = {}) {
  const loss = await fleet.settle();
  const losses = await Promise.all(fleet.gateways.map((gateway) => gateway.lost()));
  const counted = losses.reduce((all, each) => all + each, 0);
  const growth = fleet.gateways.map((gateway, index) => gateway.residentBytes() - fleet.residentBefore[index]);
  const refused = fleet.backEnd.refused.length;
  const unknown = fleet.backEnd.refused.filter((words) => !/nothing was published/.test(words)).length;
  const mib = growth.map((bytes) => Math.round(bytes / 2 ** 20));
  console.log(`${name}: ${JSON.stringify({ ...times, ...loss, counted, refused, unknown, "growth in MiB": mib })}`);
  for (const bytes of growth) assert.ok(bytes < GROWTH_MAX, `memory grew by ${bytes} bytes`);
  return { ...loss, counted };
}

function assertNothingLost({ lost, counted }, { backEnd }) {
  assert.deepEqual({ lost, counted, refused: backEnd.refused }, { lost: 0, counted: 0, refused: [] });
}

/** A gateway that does not answer makes answers partial, in the time they were given, until its lease has run out. */
async function isPartialUntilTheLeaseEnds(asked, socketsOfOthers) {
  const { sockets, coverage } = await asked.fetchSockets(ASK_MS);
  assert.deepEqual([sockets.length, coverage.partial], [socketsOfOthers, true], JSON.stringify(coverage));
  assert.ok(coverage.nodes_answered < coverage.nodes_asked, JSON.stringify(coverage));
  await eventually(() => isComplete(asked, socketsOfOthers), "answers are complete again");
}

/** Whether all gateways have answered, and have so many clients. */
async function isComplete(asked, clients) {
  const { sockets, coverage } = await asked.count(ASK_MS);
  return Number(sockets) === clients && !coverage.partial ? true : { sockets, coverage };
}

async function reconnects(gateway) {
  return (await gateway.figures()).roomcast_redis_reconnects_total;
}

function deadline() {
  return Date.now() + TOLD_MS * Math.max(1, loadavg()[0] / availableParallelism());
}

/** A Redis with `settings` and gateways on it. */
async function onRedis({ adapter, gateways = 2, env, settings = {} }, work) {
  const redis = await startRedis(settings);
  try {
    const fleet = await Fleet.start(Array(gateways).fill(redis.url), { adapter, env });
    await running(fleet, () => work({ redis, fleet }));
  } finally {
    await redis.stop();
  }
}

/** A Redis and two gateways, each with a proxy before it. */
async function onProxies({ adapter }, work) {
  const redis = await startRedis();
  const proxies = await Promise.all([redis, redis].map(({ port }) => Proxy.start(port)));
  try {
    const fleet = await Fleet.start(proxies.map(({ url }) => url), { adapter });
    await running(fleet, () => work({ redis, fleet, proxies }));
  } finally {
    for (const proxy of proxies) await proxy.stop();
    await redis.stop();
  }
}

/** Does `work`, and ends the fleet in any case; the first failure is told. */
async function running(fleet, work) {
  try {
    await work();
  } catch (error) {
    await fleet.stop().catch(() => {});
    for (const { name, log } of fleet.gateways) error.message += `\n${name}:\n${log.slice(-2000)}`;
    throw error;
  }
  await fleet.stop();
}
