// What scenarios are written with: comparison of values with binary in them, joining, recording. No Node imports.

import { next, within } from "./deadline.mjs";

/** What a gateway acknowledges with. */
export const OK = { status: "ok" };

export function same(actual, expected, what) {
  const [left, right] = [canonical(actual), canonical(expected)];
  if (left !== right) throw new Error(`${what}: got ${left.slice(0, 500)}, expected ${right.slice(0, 500)}`);
}

export function truth(condition, what) {
  if (!condition) throw new Error(what);
}

/** JSON in which binary of every kind (Buffer, ArrayBuffer, typed array) reads the same. */
export function canonical(value) {
  return JSON.stringify(plain(value)) ?? "undefined";
}

function plain(value) {
  if (value instanceof ArrayBuffer) return { bytes: [...new Uint8Array(value)].join() };
  if (ArrayBuffer.isView(value)) return { bytes: [...value].join() };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

/** `count` bytes in which every value occurs. */
export function someBytes(count, seed = 0) {
  return Uint8Array.from({ length: count }, (_, index) => (index * 31 + seed) & 0xff);
}

/** Base64 of bytes, with what browsers and Node share. */
export function base64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

export function ask(socket, event, ...args) {
  // Not `emitWithAck`, which clients before 4.6 have not.
  return within(new Promise((resolve) => socket.emit(event, ...args, resolve)), `acknowledgement of "${event}"`);
}

export async function join(socket, ...rooms) {
  for (const room of rooms) same(await ask(socket, "join", room), OK, `join ${room}`);
}

/** Two sockets on connections of their own, both in `room`. */
export async function pair(ctx, room = "lobby") {
  const sockets = [await ctx.connect("/"), await ctx.connect("/")];
  for (const socket of sockets) await join(socket, room);
  return sockets;
}

/**
 * Records all that `socket` gets from now on. The function it returns publishes one more message, and gives what came
 * before that one, in order, as [event, ...args]: the way to prove that something did not arrive.
 */
export function record(ctx, socket, namespace = "/") {
  const seen = [];
  onEvery(socket, (...args) => seen.push(args));
  return async () => {
    const fence = next(socket, "fence");
    await ctx.publish({ namespace, rooms: [socket.id], event: "fence" });
    await fence;
    return seen.filter(([event]) => event !== "fence");
  };
}

/** `onAny`, also for clients before 3.0, which have only the method that takes event packets in. */
function onEvery(socket, listener) {
  if (socket.onAny) return socket.onAny(listener);
  const { onevent } = socket;
  socket.onevent = function (packet) {
    listener(...packet.data);
    return onevent.call(this, packet);
  };
  return socket;
}

/** First arguments of the `m` events that arrive before `end`. */
export function untilEnd(socket) {
  const seen = [];
  socket.on("m", (first) => seen.push(first));
  return next(socket, "end").then(() => seen);
}
