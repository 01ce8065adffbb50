// One real process beside the test, watched: an end that nobody asked for is a fault of the run.

import assert from "node:assert/strict";
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

import { PATIENCE_MS, within } from "../../clients/deadline.mjs";

export class Child {
  #process;
  #name;
  #mayEnd = false;

  /** What it wrote to its two outputs so far. */
  log = "";

  /** `process`: as `child_process` gives it, with both outputs piped. */
  constructor(name, process) {
    this.#name = name;
    this.#process = process;
    for (const output of [process.stdout, process.stderr]) {
      output.setEncoding("utf8").on("data", (text) => (this.log += text));
    }
  }

  /** Starts `program`. It inherits nothing to read. */
  static spawn(name, program, args, options = {}) {
    return new Child(name, spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] }));
  }

  get pid() {
    return this.#process.pid;
  }

  get hasEnded() {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Fails if the process has ended by itself. */
  assertAlive() {
    const { exitCode, signalCode } = this.#process;
    assert.ok(this.#mayEnd || !this.hasEnded, `${this.#name} ended with ${exitCode ?? signalCode}:\n${this.log}`);
  }

  /** Stops all its threads where they are, as an overloaded or frozen machine would. */
  suspend() {
    this.#process.kill("SIGSTOP");
  }

  resume() {
    this.#process.kill("SIGCONT");
  }

  /** Ends the process; its exit code, or `null` if the signal ended it. */
  async end(signal = "SIGTERM") {
    this.#mayEnd = true;
    if (this.hasEnded) return this.#process.exitCode;
    const exit = once(this.#process, "exit");
    this.#process.kill(signal);
    const [code] = await within(exit, `end of ${this.#name} after ${signal}`).catch((error) => {
      this.#process.kill("SIGKILL");
      throw new Error(`${error.message}; log:\n${this.log}`);
    });
    return code;
  }
}

/** A Node process of `nodes/`, which does what it is asked for. */
export class NodeChild extends Child {
  #process;
  #asked = new Map();
  #lastId = 0;

  /** Starts `script` (a path) with `options` and waits until it is ready; `ready` is what it said then. */
  static async start(name, script, options) {
    const child = new NodeChild(name, forkNode(script, options));
    const { ready } = await within(child.#answer(0), `${name} is ready`).catch((error) => {
      throw new Error(`${error.message}:\n${child.log}`);
    });
    return Object.assign(child, { ready });
  }

  constructor(name, process) {
    super(name, process);
    this.#process = process;
    process.on("message", (message) => this.#take(message));
    process.once("exit", () => {
      for (const { reject } of this.#asked.values()) reject(new Error(`${name} has ended:\n${this.log}`));
    });
  }

  /** The value of `command(argument)` there; rejects with its error. Commands begin in the order they are asked. */
  ask(command, argument) {
    const id = ++this.#lastId;
    this.#process.send({ id, command, argument });
    return within(this.#answer(id), command, PATIENCE_MS);
  }

  #answer(id) {
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  #take({ id = 0, error, value, ...more }) {
    const { resolve, reject } = this.#asked.get(id) ?? {};
    this.#asked.delete(id);
    if (error) reject?.(new Error(error));
    else resolve?.(id === 0 ? more : value);
  }
}

function forkNode(script, options) {
  return fork(script, [JSON.stringify(options)], {
    // Structured clone instead of JSON: dates, bytes, undefined and NaN arrive as such.
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
}

/** Memory of a process in RAM, in bytes. */
export function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]);
}
