// A master with two replicas, watched by three real Sentinels.

import { freePort } from "../../clients/ports.mjs";
import { eventually } from "./eventually.mjs";
import { RedisServer } from "./redis.mjs";

/** What the Sentinels call the master. */
const NAME = "roomcast";

const REPLICAS = 2;
const SENTINELS = 3;

/** How many of them must agree that the master is away. */
const QUORUM = 2;

/** Without a word for so long the master is away, in ms. */
const DOWN_AFTER_MS = 1000;

export async function startSentinels() {
  const master = new RedisServer(await freePort(), {});
  const replicas = [];
  for (let replica = 0; replica < REPLICAS; replica += 1) {
    replicas.push(new RedisServer(await freePort(), { replicaof: `127.0.0.1 ${master.port}` }));
  }
  const watched = new Sentinels(master, replicas);
  try {
    await watched.start();
  } catch (error) {
    await watched.stop();
    throw error;
  }
  return watched;
}

class Sentinels {
  #sentinels = [];

  constructor(master, replicas) {
    this.servers = [master, ...replicas];
  }

  /** For gateways. */
  get url() {
    return `redis+sentinel://${this.#sentinels.map(({ port }) => `127.0.0.1:${port}`).join()}/${NAME}`;
  }

  async start() {
    const [master] = this.servers;
    await Promise.all(this.servers.map((server) => server.start()));
    for (let each = 0; each < SENTINELS; each += 1) this.#sentinels.push(await Sentinel.start(master.port));
    const know = async () => {
      const infos = await Promise.all(this.#sentinels.map(({ admin }) => admin.info("sentinel")));
      return infos.every((info) => info.includes(`slaves=${REPLICAS},sentinels=${SENTINELS}`));
    };
    await eventually(know, "all Sentinels know each other and the replicas");
  }

  /** The server that a majority of Sentinels calls the master. */
  async master() {
    const views = await Promise.all(
      this.#sentinels.map(({ admin }) => admin.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)),
    );
    const ports = views.map(([, port]) => Number(port));
    return this.servers.find(({ port }) => ports.filter((each) => each === port).length > SENTINELS / 2);
  }

  /** Kills the master, and gives the one that took over. */
  async failOver() {
    const old = await this.master();
    await old.kill();
    let now;
    const other = async () => {
      now = await this.master();
      return now !== undefined && now !== old && (await now.admin.role())[0] === "master";
    };
    await eventually(other, "another master");
    return now;
  }

  async stop() {
    await Promise.all([...this.#sentinels, ...this.servers].map((each) => each.stop()));
  }
}

/** A Sentinel writes what it learns into its configuration file, which is why each has a folder of its own. */
class Sentinel extends RedisServer {
  static async start(masterPort) {
    const sentinel = new Sentinel(await freePort(), {
      [`sentinel monitor ${NAME}`]: `127.0.0.1 ${masterPort} ${QUORUM}`,
      [`sentinel down-after-milliseconds ${NAME}`]: DOWN_AFTER_MS,
      [`sentinel failover-timeout ${NAME}`]: 5 * DOWN_AFTER_MS,
    });
    sentinel.flags = ["--sentinel"];
    // It refuses settings that are not its own.
    sentinel.persistence = {};
    await sentinel.start();
    return sentinel;
  }
}
