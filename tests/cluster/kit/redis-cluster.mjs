// A real Redis Cluster: three masters and a replica of each, in six processes.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { freePort } from "../../clients/ports.mjs";
import { eventually } from "./eventually.mjs";
import { RedisServer, assertInstalled } from "./redis.mjs";

const run = promisify(execFile);

const SERVERS = 6;
const REPLICAS_PER_MASTER = 1;

/** After so long without a word of a master its replica takes over, in ms. */
const NODE_TIMEOUT_MS = 2000;

/** Starts the six and waits until all of them know the whole. */
export async function startRedisCluster() {
  assertInstalled("redis-cli");
  const servers = [];
  for (let server = 0; server < SERVERS; server += 1) {
    servers.push(
      new RedisServer(await freePort(), {
        "cluster-enabled": "yes",
        "cluster-node-timeout": NODE_TIMEOUT_MS,
        // By default 10,000 above the port, where the kernel gives out ports of its own.
        "cluster-port": await freePort(),
        "cluster-config-file": "nodes.conf",
      }),
    );
  }
  const cluster = new RedisCluster(servers);
  try {
    await Promise.all(servers.map((server) => server.start()));
    await cluster.create();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

class RedisCluster {
  constructor(servers) {
    this.servers = servers;
  }

  /** For gateways. */
  get url() {
    return `redis+cluster://${this.#addresses.join()}`;
  }

  /** For Node's clients. */
  get urls() {
    return this.servers.map(({ url }) => url);
  }

  get #addresses() {
    return this.servers.map(({ port }) => `127.0.0.1:${port}`);
  }

  async create() {
    const options = ["--cluster-replicas", `${REPLICAS_PER_MASTER}`, "--cluster-yes"];
    await run("redis-cli", ["--cluster", "create", ...this.#addresses, ...options]);
    await this.whole();
  }

  /** Resolves when every running server says that all slots are served and all have the same masters in mind. */
  async whole() {
    const running = this.servers.filter((server) => !server.hasEnded);
    const isWhole = async () => {
      const infos = await Promise.all(running.map(({ admin }) => admin.cluster("INFO")));
      const views = await Promise.all(running.map((server) => mastersSeenBy(server)));
      const replicas = await Promise.all(running.map(({ admin }) => admin.role()));
      const linked = replicas.every(([role, , , state]) => role === "master" || state === "connected");
      return linked && infos.every((info) => info.includes("cluster_state:ok")) && new Set(views).size === 1;
    };
    await eventually(isWhole, "the cluster is whole");
  }

  /** The servers that are masters now. */
  async masters() {
    const roles = await Promise.all(this.servers.map((server) => (server.hasEnded ? [] : server.admin.role())));
    return this.servers.filter((_, index) => roles[index][0] === "master");
  }

  /** The master that has the slot of `channel`. */
  async ownerOf(channel) {
    const slot = await this.servers.find((server) => !server.hasEnded).admin.cluster("KEYSLOT", channel);
    for (const master of await this.masters()) {
      const [first] = (await master.admin.cluster("NODES")).split("\n").filter((line) => line.includes("myself"));
      if (
        first
          .split(" ")
          .slice(8)
          .some((range) => includes(range, slot))
      )
        return master;
    }
    throw new Error(`nobody has slot ${slot}`);
  }

  /** Moves the slot of `channel`, in which no keys are, to another master; gives the new one. */
  async moveSlotOf(channel) {
    const from = await this.ownerOf(channel);
    const slot = await from.admin.cluster("KEYSLOT", channel);
    const to = (await this.masters()).find((master) => master !== from);
    const [fromId, toId] = [await from.admin.cluster("MYID"), await to.admin.cluster("MYID")];
    await to.admin.cluster("SETSLOT", slot, "IMPORTING", fromId);
    await from.admin.cluster("SETSLOT", slot, "MIGRATING", toId);
    // First where it goes to: in the other order the slot would have no owner for a moment.
    for (const server of [to, from]) await server.admin.cluster("SETSLOT", slot, "NODE", toId);
    for (const server of await this.masters()) await server.admin.cluster("SETSLOT", slot, "NODE", toId);
    await this.whole();
    return to;
  }

  /** Subscriptions of `channel`, over all masters; `count` is NUMSUB or SHARDNUMSUB. */
  async subscribers(count, channel) {
    const counts = await Promise.all((await this.masters()).map((master) => master.subscribers(count, channel)));
    return counts.reduce((sum, each) => sum + each, 0);
  }

  assertAlive() {
    for (const server of this.servers) server.assertAlive();
  }

  async stop() {
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}

/** Ids of the masters, in the view of one server. */
async function mastersSeenBy({ admin }) {
  const lines = (await admin.cluster("NODES"))
    .split("\n")
    .filter((line) => /\bmaster\b/.test(line) && !/fail/.test(line));
  return lines
    .map((line) => [line.split(" ")[0], ...line.split(" ").slice(8)].join(" "))
    .sort()
    .join();
}

/** Whether a range of CLUSTER NODES, `5` or `5-9`, has the slot; ranges of slots on the way (`[5->-id]`) have none. */
function includes(range, slot) {
  const [first, last = first] = range.split("-").map(Number);
  return first <= slot && slot <= last;
}
