// Starts one server under test (a Roomcast gateway, or the reference server in its place), knows its
// addresses, publishes to it over gRPC, and proves on stopping that it ends cleanly.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { stringify as toToml } from "smol-toml";

import { PATIENCE_MS, within } from "./deadline.mjs";
import { freePort } from "./ports.mjs";
import { Publisher } from "./publisher.mjs";

export const REPOSITORY = resolve(fileURLToPath(import.meta.url), "../../..");

/** The program under test: `ROOMCAST_GATEWAY`, else the debug build. */
export const GATEWAY = process.env.ROOMCAST_GATEWAY
  ? resolve(process.env.ROOMCAST_GATEWAY)
  : join(process.env.CARGO_TARGET_DIR ?? join(REPOSITORY, "target"), "debug/roomcast-gateway");

/** The program without clients, beside the gateway unless `ROOMCAST_PUBLISHER` names another. */
export const PUBLISHER = resolve(process.env.ROOMCAST_PUBLISHER ?? join(dirname(GATEWAY), "roomcast-publisher"));

/** Whether Node's own server stands in for the gateway: what only Roomcast promises is left out then. */
export const IS_REFERENCE = GATEWAY.endsWith("reference-server.mjs");

/** Where the browser bundle of the client lies. */
export const BUNDLE_DIR =
  process.env.ROOMCAST_BUNDLE_DIR ?? join(REPOSITORY, "tests/clients/node_modules/socket.io-client/dist");

/** The rules `--dev` gives to every namespace, as configuration of the namespaces that `name` matches. */
export function openNamespace(name, more = {}) {
  return {
    name,
    may_join: { event: "join", rooms: ["*"] },
    may_leave: { event: "leave", rooms: ["*"] },
    events: [{ event: "*", action: "relay-to-rooms" }],
    ...more,
  };
}

/** SHA-256 of a token as the configuration wants it, 64 hex digits. */
export function tokenHash(token) {
  return createHash("sha256").update(token).digest("hex");
}

/**
 * Starts a server and waits until it is ready.
 *
 * `config`: content of its configuration file; without one it runs with `--dev`. `env`: further variables.
 */
export async function startGateway({ config, env = {} } = {}) {
  const client = await freePort();
  const own = { ROOMCAST__CLIENT__LISTEN: `127.0.0.1:${client}`, ROOMCAST__CLIENT__BUNDLE_DIR: BUNDLE_DIR };
  const ports = { client, grpc: await freePort(), ops: await freePort() };
  const gateway = new Service(GATEWAY, config ?? "--dev", { ...own, ...env }, ports);
  await gateway.start();
  return gateway;
}

/** Starts a publisher, which serves no clients, and waits until it is ready; arguments as of {@link startGateway}. */
export async function startPublisher({ config, env = {} } = {}) {
  const publisher = new Service(PUBLISHER, config, env, { grpc: await freePort(), ops: await freePort() });
  await publisher.start();
  return publisher;
}

class Service {
  #program;
  #config;
  #env;
  #ports;
  #process = null;
  #folder = mkdtempSync(join(tmpdir(), "roomcast-clients-"));
  #publisher;

  /** What the server wrote to its two outputs so far. */
  log = "";

  /** `config`: content of its file, or the flag that stands for one; `ports`: `client`, `grpc`, `ops`. */
  constructor(program, config, env, ports) {
    this.#program = program;
    this.#config = config;
    this.#env = env;
    this.#ports = ports;
    this.#publisher = new Publisher(this.grpcAddress);
  }

  /** Base address of clients, without a slash at the end. */
  get url() {
    return `http://127.0.0.1:${this.#ports.client}`;
  }

  /** Port of clients. */
  get port() {
    return this.#ports.client;
  }

  /** `host:port` of the publish API. */
  get grpcAddress() {
    return `127.0.0.1:${this.#ports.grpc}`;
  }

  /** Base address of health and metrics. */
  get opsUrl() {
    return `http://127.0.0.1:${this.#ports.ops}`;
  }

  /** The process, for signals. */
  get pid() {
    return this.#process.pid;
  }

  /** Whether the process runs no more. */
  get hasEnded() {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Starts the process on the same ports as ever and waits until it is ready. */
  async start() {
    const missing = "is missing: cargo build -p roomcast-gateway -p roomcast-publisher, or set ROOMCAST_GATEWAY";
    assert.ok(existsSync(this.#program), `${this.#program} ${missing}`);
    const listen = {
      ROOMCAST__GRPC__LISTEN: this.grpcAddress,
      ROOMCAST__OPS__LISTEN: `127.0.0.1:${this.#ports.ops}`,
    };
    this.#process = spawn(this.#program, this.#arguments(), {
      env: { ...process.env, ...listen, ...this.#env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const output of [this.#process.stdout, this.#process.stderr]) {
      output.setEncoding("utf8").on("data", (text) => (this.log += text));
    }
    await this.#ready();
  }

  #arguments() {
    if (!this.#config) return [];
    if (typeof this.#config === "string") return [this.#config];
    const file = join(this.#folder, "gateway.toml");
    writeFileSync(file, toToml(this.#config));
    return ["--config", file];
  }

  async #ready() {
    const until = Date.now() + PATIENCE_MS;
    while (Date.now() < until) {
      if (this.#process.exitCode !== null) {
        throw new Error(`the server ended with ${this.#process.exitCode} before it was ready:\n${this.log}`);
      }
      // There is no event to wait for in another process's listener: ask, 20 ms apart, until the deadline.
      const answer = await fetch(`${this.opsUrl}/health/ready`).catch(() => null);
      if (answer?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the server was not ready within ${PATIENCE_MS} ms:\n${this.log}`);
  }

  /** Publishes one message (fields of `roomcast.v1.Message`); the answer once the server has taken it. */
  publish(message) {
    return this.#publisher.publish(message);
  }

  /** Publishes to everyone, or to `rooms`, of `namespace`; `args` is any JSON. */
  emit(event, args = [], { namespace = "/", rooms = [], ...more } = {}) {
    return this.publish({ namespace, rooms, event, arguments: JSON.stringify(args), ...more });
  }

  /** Ends the process the way a crash does. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Ends the process the way an orchestrator does: SIGTERM, and exit code 0 within the deadline. */
  async stop() {
    this.#publisher.close();
    const code = await this.#end("SIGTERM");
    rmSync(this.#folder, { recursive: true });
    assert.equal(code, 0, `exit code after SIGTERM; log:\n${this.log}`);
  }

  async #end(signal) {
    const child = this.#process;
    if (this.hasEnded) return child.exitCode;
    const exit = once(child, "exit");
    child.kill(signal);
    const [code] = await within(exit, `exit after ${signal}`).catch((error) => {
      child.kill("SIGKILL");
      throw new Error(`${error.message}; log:\n${this.log}`);
    });
    return code;
  }
}
