// Every message that anybody publishes, as Redis saw it (MONITOR), and whether Node's servers would survive it.

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";

import { decode, encode } from "notepack.io";

const ESCAPES = { n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b" };

export class Capture {
  /** `{ command, channel, payload }` in order; `payload` is bytes. */
  messages = [];
  #sockets = [];

  static async start(servers) {
    const capture = new Capture();
    for (const { port } of servers) await capture.#monitor(port);
    return capture;
  }

  async #monitor(port) {
    const socket = net.connect(port, "127.0.0.1").setEncoding("latin1");
    this.#sockets.push(socket);
    await once(socket, "connect");
    const answered = once(socket, "data");
    socket.write("MONITOR\r\n");
    await answered;
    let rest = "";
    socket.on("error", () => {});
    socket.on("data", (text) => {
      const lines = (rest + text).split("\r\n");
      rest = lines.pop();
      for (const line of lines) this.#take(line);
    });
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
  }

  #take(line) {
    const [command, ...args] = words(line);
    if (!/^s?publish$/i.test(command ?? "")) return;
    const [channel, payload] = args.map((arg) => Buffer.from(arg, "latin1"));
    this.messages.push({ command: command.toUpperCase(), channel: channel.toString(), payload });
  }

  /** Fails at the first message that a Node server would not survive, or that is not as Node writes it. */
  assertSound(messages = this.messages) {
    for (const message of messages) {
      try {
        if (message.command === "PUBLISH") assertClassic(message);
        else assertSharded(message);
      } catch (error) {
        const { command, channel, payload } = message;
        throw new Error(`${command} ${channel} ${payload.toString("hex")}: ${error.message}`, { cause: error });
      }
    }
  }
}

/** The quoted arguments of a line of MONITOR, one character per byte. */
function words(line) {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) =>
    word.replaceAll(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex, one) =>
      hex ? String.fromCharCode(parseInt(hex, 16)) : (ESCAPES[one] ?? one),
    ),
  );
}

function assertClassic({ channel, payload }) {
  const [, kind, namespace, room] = /^socket\.io(-request|-response|)#([^#]*)#(?:(.*)#)?$/s.exec(channel) ?? [];
  // Not one of the adapter's channels: heartbeats of a gateway, and others' business.
  if (kind === undefined) return;
  if (kind === "-request") return assertRequest(payload);
  if (kind === "-response") return assertResponse(payload);
  const message = decodeExactly(payload);
  assert.ok(Array.isArray(message) && message.length === 3, "a broadcast is a list of three");
  const [uid, packet, opts] = message;
  assert.equal(typeof uid, "string");
  assertPacket(packet, namespace);
  assertOpts(opts);
  // What all gateways are to report on goes to all of them.
  const hasOwn = opts.rooms.length === 1 && !opts.flags.roomcastReport;
  assert.equal(hasOwn ? String(opts.rooms[0]) : undefined, room, "one room has its channel");
}

function assertPacket(packet, namespace) {
  assert.equal(packet.type, 2, "type of the packet");
  assert.equal(packet.nsp, namespace);
  assert.ok(Array.isArray(packet.data) && typeof packet.data[0] === "string", "event and arguments");
}

function assertOpts({ rooms, except = [], flags = {} }) {
  assert.ok(Array.isArray(rooms) && Array.isArray(except), "rooms and except are lists");
  assert.equal(Object.prototype.toString.call(flags), "[object Object]", "flags");
}

function assertRequest(payload) {
  const isJson = payload[0] === 0x7b;
  const request = isJson ? JSON.parse(payload) : decodeExactly(payload);
  assert.equal(typeof request.type, "number");
  if (request.requestid) return;
  if ([5, 7].includes(request.type)) assertOpts(request.opts);
  if (request.type === 6) assert.ok(Array.isArray(request.data), "data of a serverSideEmit");
  if (request.type === 7) {
    assert.equal(isJson, false, "a broadcast that asks is MessagePack");
    assertPacket(request.packet, request.packet.nsp);
  }
}

function assertResponse(payload) {
  const response = payload[0] === 0x7b ? JSON.parse(payload) : decodeExactly(payload);
  assert.equal(typeof (response.requestId ?? response.requestid), "string");
}

function assertSharded({ channel, payload }) {
  const [, namespace] = /^socket\.io#([^#]*)#/s.exec(channel) ?? [];
  if (namespace === undefined) return;
  const message = payload[0] === 0x7b ? JSON.parse(payload) : decodeExactly(payload);
  assert.equal(message.nsp, namespace);
  assert.match(message.uid, /^[0-9a-f]{16}$/);
  assert.ok(message.type >= 3 && message.type <= 12, `type ${message.type}`);
  if (message.type <= 7) assertOpts(message.data.opts);
  if (message.type === 3) assert.deepEqual(message.data.packet.type, 2);
  if (message.type >= 8 && message.type !== 9) assert.match(message.data.requestId, /^[0-9a-f]{16}$/);
}

/** Decodes with Node's library, which refuses trailing bytes, and proves that it would have written the same. */
function decodeExactly(payload) {
  const value = decode(payload);
  assert.equal(encode(value).toString("hex"), payload.toString("hex"), "bytes are those that Node writes");
  return value;
}
