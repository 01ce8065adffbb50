// A real redis-server on a free port, and a connection to ask it with.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { Redis } from "ioredis";

import { freePort } from "../../clients/ports.mjs";
import { Child } from "./child.mjs";
import { eventually } from "./eventually.mjs";

/** Starts a server with nothing in it. `settings`: further lines of its configuration, as `{ name: value }`. */
export async function startRedis(settings = {}) {
  const server = new RedisServer(await freePort(), settings);
  await server.start();
  return server;
}

/** Fails clearly, and never skips: what is proven here is nothing without Redis. */
export function assertInstalled(program) {
  const found = (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)));
  if (!found) throw new Error(`${program} is not in PATH; install Redis 7 (Debian: apt-get install redis-server)`);
}

export class RedisServer {
  #child = null;
  #settings;
  #folder = mkdtempSync(join(tmpdir(), "roomcast-redis-"));

  /** For questions of the test; no participant uses it. */
  admin = null;
  /** Further arguments of the program. */
  flags = [];
  /** Nothing is to be kept, so nothing is saved. */
  persistence = { save: '""', appendonly: "no" };

  constructor(port, settings) {
    this.port = port;
    this.#settings = settings;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts the process, on the same port as ever. `settings` replace those of before. */
  async start(settings = this.#settings) {
    assertInstalled("redis-server");
    this.#settings = settings;
    const base = { port: this.port, bind: "127.0.0.1", dir: this.#folder };
    const file = join(this.#folder, "redis.conf");
    const lines = Object.entries({ ...base, ...this.persistence, ...settings }).map(
      ([name, value]) => `${name} ${value}\n`,
    );
    writeFileSync(file, lines.join(""));
    this.#child = Child.spawn(`redis-server ${this.port}`, "redis-server", [file, ...this.flags]);
    const password = settings.requirepass;
    this.admin = new Redis({
      port: this.port,
      host: "127.0.0.1",
      password,
      lazyConnect: true,
      retryStrategy: () => 50,
    });
    // It reports each refusal until the server listens; the wait below has the last word.
    this.admin.on("error", () => {});
    await eventually(async () => (await this.admin.ping()) === "PONG", `redis-server ${this.port} answers`);
  }

  /** A further connection, such as for subscribing. */
  connection() {
    const connection = new Redis({ port: this.port, host: "127.0.0.1", password: this.#settings.requirepass });
    connection.on("error", () => {});
    return connection;
  }

  /** One number of INFO, such as `total_net_output_bytes`. */
  async info(field) {
    return Number(new RegExp(`^${field}:(\\d+)`, "m").exec(await this.admin.info())?.[1]);
  }

  /** How many connections subscribe to `channel`; `count` is NUMSUB or SHARDNUMSUB. */
  async subscribers(count, channel) {
    const [, number] = await this.admin.call("PUBSUB", count, channel);
    return Number(number);
  }

  get hasEnded() {
    return this.#child === null || this.#child.hasEnded;
  }

  assertAlive() {
    this.#child.assertAlive();
  }

  suspend() {
    this.#child.suspend();
  }

  resume() {
    this.#child.resume();
  }

  /** Ends the process the way a crash does; `start` brings it back, empty. */
  async kill() {
    this.admin.disconnect();
    await this.#child.end("SIGKILL");
  }

  async stop() {
    this.admin?.disconnect();
    await this.#child?.end("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
