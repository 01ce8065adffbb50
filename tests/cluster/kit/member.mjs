// One client of one participant, which remembers all that it got.

import { io as connect4 } from "socket.io-client";
import connect2 from "socket.io-client-2";
import msgpack from "socket.io-msgpack-parser";

import { within } from "../../clients/deadline.mjs";

/** Events with this prefix are acknowledged by nobody but the roles that are not `silent`. */
export const SILENT = "silent";

/** Events with this prefix are acknowledged with bytes. */
export const BYTES = "bytes";

export class Member {
  /** What it got so far, in order: [event, ...args] without acknowledgement callbacks. */
  seen = [];
  /** The rooms it is meant to be in, its own not among them: kept true by the cells. */
  rooms = new Set();

  /** Connects a client of the generation and with the parser that `server` serves, and joins `rooms`. */
  static async connect(server, role, { rooms = [], silent = false, namespace = "/" } = {}) {
    const options = { transports: ["websocket"], forceNew: true, reconnection: false };
    const url = server.url + namespace;
    const socket =
      server.client === 2
        ? connect2(url, { ...options, query: { role } })
        : connect4(url, { ...options, auth: { role }, ...(server.parser === "msgpack" ? { parser: msgpack } : {}) });
    const member = new Member(server, role, socket, silent);
    await within(connected(socket), `${member.name} connects`);
    for (const room of rooms) await member.join(room);
    return member;
  }

  constructor(server, role, socket, silent) {
    this.server = server;
    this.role = role;
    this.silent = silent;
    this.socket = socket;
    onEvery(socket, (event, args) => this.#take(event, args));
  }

  get id() {
    return this.socket.id;
  }

  get name() {
    return `${this.server.name}/${this.role}`;
  }

  /** The argument lists of what it got under that name. */
  got(event) {
    return this.seen.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  /** Whether a broadcast to `rooms` without `except` is meant for it. */
  isIn(rooms = [], except = []) {
    const isInAny = (names) => names.some((room) => room === this.id || this.rooms.has(room));
    // To a 2.x server only ids of sockets are exceptions.
    const isExcepted = this.server.client === 2 ? except.includes(this.id) : isInAny(except);
    return (rooms.length === 0 || isInAny(rooms)) && !isExcepted;
  }

  async join(room) {
    await this.ask("join", room);
    this.rooms.add(room);
  }

  async leave(room) {
    await this.ask("leave", room);
    this.rooms.delete(room);
  }

  /** Emits, and gives the acknowledgement; not `emitWithAck`, which old clients have not. */
  ask(event, ...args) {
    const asked = new Promise((resolve) => this.socket.emit(event, ...args, resolve));
    return within(asked, `${this.name}: acknowledgement of ${event}`);
  }

  close() {
    this.socket.close();
  }

  #take(event, args) {
    const ack = typeof args.at(-1) === "function" ? args.pop() : null;
    this.seen.push([event, ...args]);
    if (!ack || (this.silent && event.startsWith(SILENT))) return;
    ack(event.startsWith(BYTES) ? Buffer.from(this.name) : this.name);
  }
}

function connected(socket) {
  return new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
}

/** `onAny` for every generation: before 3.0 there is only the method that takes event packets in. */
function onEvery(socket, listener) {
  if (socket.onAny) return socket.onAny((event, ...args) => listener(event, args));
  const { onevent } = socket;
  socket.onevent = function (packet) {
    const [event, ...args] = packet.data;
    const ack = packet.id === undefined || packet.id === null ? [] : [this.ack(packet.id)];
    listener(event, [...args, ...ack]);
    return onevent.call(this, { ...packet, id: undefined });
  };
  return socket;
}
