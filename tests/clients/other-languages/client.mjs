// A client in another language, as a process that speaks lines of JSON: one object to emit per line of its standard
// input, one happening per line of its standard output. It ends when its input does.
//
//   in   { namespace, event, args, ack? }
//   out  { what: "connected" | "disconnected" | "refused", namespace }, { what: "event", namespace, event, args },
//        { what: "ack", ack, args }, { what: "failed", message }
//
// Bytes are { "$bytes": base64 } in both directions.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { within } from "../deadline.mjs";
import { base64 } from "../kit.mjs";

export class Client {
  #process;
  #happenings = [];
  #waiting = new Set();
  #acks = 0;
  #errors = "";

  /** `command`: the program and its arguments; `setup`: { url, transport, namespaces, auth? }. */
  constructor([program, ...args], setup) {
    this.#process = spawn(program, [...args, JSON.stringify(setup)], { stdio: ["pipe", "pipe", "pipe"] });
    createInterface({ input: this.#process.stdout }).on("line", (line) => this.#take(JSON.parse(line)));
    this.#process.stderr.setEncoding("utf8").on("data", (text) => (this.#errors += text));
  }

  #take(happening) {
    this.#happenings.push(rich(happening));
    for (const look of [...this.#waiting]) look();
  }

  /** The first happening, come or to come, of which `matches` is true; it is not given again. */
  next(what, matches = () => true) {
    const found = new Promise((resolve) => {
      const look = () => {
        const at = this.#happenings.findIndex((each) => each.what === what && matches(each));
        if (at < 0) return this.#waiting.add(look);
        this.#waiting.delete(look);
        resolve(this.#happenings.splice(at, 1)[0]);
      };
      look();
    });
    return within(found, `"${what}"`).catch((error) => {
      throw new Error(`${error.message}; came: ${JSON.stringify(this.#happenings).slice(0, 800)}; ${this.#errors}`);
    });
  }

  /** The arguments of the next event of that name. */
  async event(name, namespace = "/") {
    return (await this.next("event", (each) => each.event === name && each.namespace === namespace)).args;
  }

  emit(event, args, { namespace = "/", ack } = {}) {
    this.#process.stdin.write(`${JSON.stringify(plain({ namespace, event, args, ack }))}\n`);
  }

  /** The arguments that `event` is acknowledged with. */
  async ask(event, args, namespace = "/") {
    const ack = (this.#acks += 1);
    this.emit(event, args, { namespace, ack });
    return (await this.next("ack", (each) => each.ack === ack)).args;
  }

  /** Ends the program; it has to do so by itself when its input ends. */
  async close() {
    if (this.#process.exitCode === null) {
      const exit = once(this.#process, "exit");
      this.#process.stdin.end();
      await within(exit, "end of the program").catch(() => this.#process.kill("SIGKILL"));
    }
  }
}

function plain(value) {
  if (ArrayBuffer.isView(value)) return { $bytes: base64(value) };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function rich(value) {
  if (Array.isArray(value)) return value.map(rich);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$bytes === "string") return new Uint8Array(Buffer.from(value.$bytes, "base64"));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, rich(each)]));
}
