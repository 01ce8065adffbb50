// Everything that would stop a Node server, on every channel of a gateway: it lives, counts, and goes on delivering.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { Cluster } from "./kit/cluster.mjs";
import { eventually } from "./kit/eventually.mjs";
import { WITH_GATEWAYS } from "./kit/matrix.mjs";
import { startParticipant } from "./kit/participants.mjs";
import { startRedis } from "./kit/redis.mjs";
import { OPERATIONS } from "./operations.mjs";

const VECTORS = JSON.parse(readFileSync(new URL("../vectors/redis-malformed.json", import.meta.url)));

/** The sum over channels of what could not be decoded. */
const METRIC = "roomcast_redis_undecodable_total";

/** What no reader can make sense of, on whatever channel. */
const HOPELESS = /Could not parse|trailing|is not iterable/;

/** Beyond the vectors, which are about one value each: depth and lengths that promise more than there is. */
const HOSTILE = {
  "lists in lists": Buffer.alloc(100_000, 0x91),
  "maps in maps": Buffer.alloc(100_000, 0x81),
  "a list of 2^32-1": Buffer.from("ddffffffff", "hex"),
  "text of 2^32-1 bytes": Buffer.from("dbffffffff", "hex"),
  "JSON lists in lists": Buffer.from(`{"type":5,"opts":${"[".repeat(100_000)}`),
  "JSON that ends early": Buffer.from('{"type":7,"uid":"'),
};

const FAMILIES = {
  redis: { vectors: "classic", publish: "PUBLISH", list: "CHANNELS" },
  "redis-sharded": { vectors: "sharded", publish: "SPUBLISH", list: "SHARDCHANNELS" },
};

describe("malformed messages", { skip: !WITH_GATEWAYS && "a reference run" }, () => {
  for (const [adapter, family] of Object.entries(FAMILIES)) {
    test(`${adapter}: survived on every channel, and counted`, async () => {
      const redis = await startRedis();
      const starting = ["one", "two"].map((name) => startParticipant(name, { kind: "gateway", adapter, redis }));
      const participants = await Promise.all(starting);
      // A mode only where there are shard channels, to know which of them messages to a room come on.
      const mode = adapter === "redis-sharded" ? "dynamic" : undefined;
      const cluster = await Cluster.form({ redis, participants, mode });
      try {
        await throwEverything(redis, family, participants);
        await goOn(cluster);
      } finally {
        await cluster.dissolve();
        await redis.stop();
      }
    });
  }
});

async function throwEverything(redis, { vectors, publish, list }, gateways) {
  const cases = VECTORS.cases.filter((each) => each.adapter === vectors);
  const hopeless = cases.filter(({ error }) => HOPELESS.test(error ?? "")).length + Object.keys(HOSTILE).length;
  const payloads = [...cases.map(({ payload }) => bytesOf(payload)), ...Object.values(HOSTILE)];
  const channels = await redis.admin.call("PUBSUB", list, "socket.io*");
  assert.ok(channels.length > 3, channels.join());
  for (const channel of channels) {
    for (const payload of payloads) await redis.admin.call(publish, channel, payload);
  }
  for (const gateway of gateways) {
    // On the channel that all have, at least.
    const counted = async () => (await gateway.metric(METRIC)) >= hopeless;
    await eventually(counted, `${gateway.name} counts ${hopeless} in ${METRIC}`);
    console.log(`${gateway.name}: ${payloads.length} messages on each of ${channels.length} channels`);
    console.log(`${gateway.name}: ${await gateway.metric(METRIC)} of them undecodable`);
  }
}

/** Every operation that gateways can do still works, by each, with the clients that were there before. */
async function goOn(cluster) {
  for (const { needs, run } of OPERATIONS) {
    for (const gateway of cluster.participants)
      if (needs.every((need) => gateway.can.has(need))) await run(cluster, gateway);
  }
}

function bytesOf({ base64, text }) {
  return text === undefined ? Buffer.from(base64, "base64") : Buffer.from(text);
}
