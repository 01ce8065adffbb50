// The operations of the matrix: each is run by every participant that can, and looked at everywhere else.

import assert from "node:assert/strict";

import { next, within } from "../clients/deadline.mjs";
import { canonical } from "../clients/kit.mjs";
import { eventually } from "./kit/eventually.mjs";
import { BYTES, Member, SILENT } from "./kit/member.mjs";

/** How long clients may take to acknowledge, in ms, where one never does. */
const SILENT_TIMEOUT_MS = 400;

/** How long where all do: under what a caller would wait for nodes that are counted and do not answer. */
const TIMEOUT_MS = 4000;

/** How many messages the order is proven with. */
const ORDERED = 200;

const NESTED_BYTES = [{ first: Buffer.from([0, 1, 255]), list: [Buffer.from("xyz")] }, "text"];

/** Arguments that JSON has not, and what a client of any server gets for them. */
const VALUES = [
  [new Date(1_700_000_000_123), "2023-11-14T22:13:20.123Z"],
  [{ at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
  [new Date(-62_135_596_800_000), "0001-01-01T00:00:00.000Z"],
  [undefined, null],
  [{ left: undefined, kept: 1 }, { kept: 1 }],
  [
    [Number.NaN, Number.POSITIVE_INFINITY],
    [null, null],
  ],
  [[0, -1, 127, 128, -129, 65_536, 2 ** 31, -(2 ** 31) - 1, 2 ** 40, 1.5], undefined],
  ["Grüße 🎈 \u0000 \ud7ff", undefined],
  [{ "": [], "#": {} }, undefined],
].map(([sent, got]) => ({ sent, got: got ?? (sent === undefined ? null : sent) }));

/**
 * Rows of the matrix: `needs` is what a publisher must be able to do (kit/participants.mjs), `run` proves the
 * operation with it in that cluster.
 */
export const OPERATIONS = [
  broadcast("all", {}),
  broadcast("one room", { rooms: ["r1"] }),
  broadcast("several rooms, each socket once", { rooms: ["r1", "r2"] }),
  broadcast("a room nobody is in", { rooms: ["nobody"] }),
  broadcast("all but a room", { except: ["r1"] }, ["except"]),
  broadcast("rooms but a room", { rooms: ["r1", "r2"], except: ["x"] }, ["except"]),
  broadcast("volatile", { rooms: ["r1"], volatile: true, args: ["now"] }),
  broadcast("binary", { rooms: ["r2"], args: NESTED_BYTES }, ["binary"]),
  broadcast("typed arrays", { args: [new Uint8Array([7, 8]), Buffer.alloc(0)] }, ["binary", "values"]),
  { name: "one socket", needs: ["emit"], run: oneSocket },
  { name: "dates, undefined, NaN, numbers, text", needs: ["values"], run: values },
  { name: "200 messages in order, once each", needs: ["emit"], run: order },
  { name: "a client's event is relayed to its rooms", needs: ["serve"], run: relay.bind(null, ["from a client", 7]) },
  { name: "a client's bytes are relayed to its rooms", needs: ["serve", "binary"], run: relay.bind(null, NESTED_BYTES) },
  { name: "broadcast with acknowledgement: all answer", needs: ["call"], run: callAll },
  { name: "broadcast with acknowledgement: bytes are answered", needs: ["call"], run: callBytes },
  { name: "broadcast with acknowledgement: some are silent", needs: ["call"], run: callSilent },
  { name: "broadcast with acknowledgement: nobody is asked", needs: ["call"], run: callNobody },
  { name: "fetchSockets: all", needs: ["fetch"], run: fetchAll },
  { name: "fetchSockets: rooms but a room", needs: ["fetch"], run: fetchSome },
  { name: "the number of sockets", needs: ["count"], run: count },
  { name: "all rooms", needs: ["rooms"], run: rooms },
  { name: "socketsJoin, socketsLeave", needs: ["move"], run: move },
  { name: "how far a message got", needs: ["report"], run: report },
  { name: "how far a message with bytes got", needs: ["report", "binary"], run: reportOfBytes },
  { name: "how many sockets joined, left, were disconnected", needs: ["report", "move"], run: reportOfChanges },
  { name: "disconnectSockets of a namespace", needs: ["disconnect"], run: disconnect.bind(null, false) },
  { name: "disconnectSockets and close", needs: ["disconnect"], run: disconnect.bind(null, true) },
  { name: "serverSideEmit", needs: ["tell"], run: tell },
  { name: "serverSideEmit with acknowledgement", needs: ["ask"], run: ask },
];

/** Operations of participants that know a room by a number. */
export const NUMERIC_ROOMS = { name: "a numeric room", needs: ["values"], run: numericRoom };

function broadcast(name, message, needs = []) {
  const run = (cluster, publisher) => cluster.prove(publisher, message);
  return { name: `broadcast: ${name}`, needs: ["emit", ...needs], run };
}

async function oneSocket(cluster, publisher) {
  for (const server of cluster.servers) {
    const [member] = cluster.of(server);
    await cluster.prove(publisher, { rooms: [member.id], args: [server.name] });
  }
}

async function values(cluster, publisher) {
  const args = VALUES.map(({ sent }) => sent);
  const got = VALUES.map(({ got: expected }) => expected);
  await cluster.prove(publisher, { args, rooms: ["r1"] }, { args: got });
  // Behind bytes the same values take another way: MessagePack in the sharded adapter, too.
  await cluster.prove(publisher, { args: [...args, Buffer.from("b")] }, { args: [...got, Buffer.from("b")] });
}

async function order(cluster, publisher) {
  const event = cluster.fresh("order");
  const ways = [["r1"], [], ["r1", "r2"]];
  const sent = Array.from({ length: ORDERED }, (_, number) => ({ number, rooms: ways[number % ways.length] }));
  await Promise.all(sent.map(({ number, rooms: to }) => publisher.do("emit", { event, rooms: to, args: [number] })));
  await cluster.fence(publisher);
  for (const member of cluster.members) {
    const meant = sent.filter(({ rooms: to }) => member.isIn(to)).map(({ number }) => [number]);
    assert.equal(canonical(member.got(event)), canonical(meant), `${member.name}: order and count`);
  }
}

async function relay(args, cluster, server) {
  const event = cluster.fresh("relayed");
  const sender = cluster.of(server).find(({ role }) => role === "b");
  await sender.ask(event, ...args);
  await cluster.fence(server);
  cluster.assertGot(event, args, (each) => each !== sender && each.isIn(["r1", "r2"]));
}

async function call(cluster, publisher, prefix, message, answerOf) {
  const event = cluster.fresh(prefix);
  const { complete, answers, who, coverage } = await publisher.do("call", { timeoutMs: TIMEOUT_MS, ...message, event });
  const asked = cluster.members.filter((member) => member.isIn(message.rooms, message.except));
  const answering = asked.filter((member) => !(prefix === SILENT && member.silent));
  assert.deepEqual(answers.map(canonical).sort(), answering.map((each) => canonical(answerOf(each))).sort());
  assert.equal(complete, answering.length === asked.length, "whether all have answered");
  if (who) {
    const nobody = { id: "", node: "" };
    const known = ({ id, server }) => (server.kind === "gateway" ? { id, node: server.name } : nobody);
    assert.deepEqual(who.map(canonical).sort(), answering.map((each) => canonical(known(each))).sort());
    const nodes = cluster.servers.length;
    assert.deepEqual(coverage, { nodes_asked: nodes, nodes_answered: nodes, nodes_missing: [], partial: false });
  }
  cluster.assertGot(event, message.args ?? [], (each) => asked.includes(each));
}

async function callAll(cluster, publisher) {
  await call(cluster, publisher, "question", { args: ["?", { n: 1 }] }, ({ name }) => name);
  await call(cluster, publisher, "question", { rooms: ["r1", "r2"], except: ["x"] }, ({ name }) => name);
  // To one socket of each server, as `remoteSocket.emit` with a callback does.
  for (const server of cluster.servers) {
    await call(cluster, publisher, "question", { rooms: [cluster.of(server)[0].id] }, ({ name }) => name);
  }
}

async function callBytes(cluster, publisher) {
  const message = { rooms: ["r1"], args: [Buffer.from([1, 2])] };
  await call(cluster, publisher, BYTES, message, ({ name }) => Buffer.from(name));
}

async function callSilent(cluster, publisher) {
  await call(cluster, publisher, SILENT, { timeoutMs: SILENT_TIMEOUT_MS }, ({ name }) => name);
}

async function callNobody(cluster, publisher) {
  await call(cluster, publisher, "question", { rooms: ["nobody"] }, () => assert.fail("nobody was asked"));
}

async function fetchAll(cluster, publisher) {
  const sockets = await publisher.do("fetch", {});
  assertSockets(sockets, cluster.members);
}

async function fetchSome(cluster, publisher) {
  for (const targets of [{ rooms: ["r1", "r2"], except: ["x"] }, { except: ["r1"] }, { rooms: ["nobody"] }]) {
    const sockets = await publisher.do("fetch", targets);
    assertSockets(
      sockets,
      cluster.members.filter((member) => member.isIn(targets.rooms, targets.except)),
    );
  }
}

async function count(cluster, publisher) {
  for (const targets of [{}, { rooms: ["r1", "r2"], except: ["x"] }, { rooms: ["nobody"] }]) {
    const meant = cluster.members.filter((member) => member.isIn(targets.rooms, targets.except));
    assert.equal(await publisher.do("count", targets), meant.length);
  }
}

/** Every field that Node tells of a socket, of exactly these members. */
export function assertSockets(sockets, members) {
  const ids = (list) => list.map(({ id }) => id).sort();
  assert.deepEqual(ids(sockets), ids(members));
  for (const member of members) {
    const { handshake, rooms: joined, data, node } = sockets.find(({ id }) => id === member.id);
    // Node tells nobody where a socket is.
    if (node !== undefined) assert.equal(node, member.server.kind === "gateway" ? member.server.name : "");
    assert.deepEqual([...joined].sort(), [member.id, ...member.rooms].sort(), `rooms of ${member.name}`);
    assert.match(handshake.address, /^(::ffff:)?127\.0\.0\.1$/);
    assert.equal(handshake.headers.host, new URL(member.server.url).host);
    assert.equal(handshake.headers.upgrade, "websocket");
    // Node reads the clock twice, and the text has no milliseconds.
    assert.ok(Math.abs(Date.parse(handshake.time) - handshake.issued) < 2000, handshake.time);
    assert.equal(handshake.secure, false);
    assert.equal(handshake.xdomain, false);
    assert.match(handshake.url, /^\/socket\.io\/\?EIO=4&transport=websocket/);
    assert.deepEqual({ ...handshake.query }, { EIO: "4", transport: "websocket" });
    assert.deepEqual(handshake.auth, { role: member.role });
    const kept = member.server.kind === "gateway" ? {} : { server: member.server.name, since: 2020 };
    assert.deepEqual({ ...data }, kept, `data of ${member.name}`);
  }
}

async function rooms(cluster, publisher) {
  const names = await publisher.do("rooms");
  const meant = new Set(cluster.members.flatMap((member) => [member.id, ...member.rooms]));
  assert.deepEqual([...names].sort(), [...meant].sort());
}

async function move(cluster, publisher) {
  const [first, second] = [cluster.fresh("room"), cluster.fresh("room")];
  const moved = cluster.members.filter((member) => member.isIn(["r1", "r2"], ["x"]));
  await publisher.do("join", { rooms: ["r1", "r2"], except: ["x"], join: [first, second] });
  for (const member of moved) member.rooms.add(first).add(second);
  for (const room of [first, second]) await cluster.agree(room);
  await cluster.prove(publisher, { rooms: [first] });

  await publisher.do("leave", { rooms: [first], except: ["r2"], leave: [first] });
  for (const member of moved) if (!member.rooms.has("r2")) member.rooms.delete(first);
  await cluster.agree(first);
  await cluster.prove(publisher, { rooms: [first] });

  await publisher.do("leave", { leave: [first, second] });
  for (const member of moved) for (const room of [first, second]) member.rooms.delete(room);
  for (const room of [first, second]) await cluster.agree(room);
  await cluster.prove(publisher, { rooms: [first, second] });
}

/** Sockets of Node servers are reached, but not told of: the nodes that answer are the gateways. */
async function report(cluster, publisher) {
  for (const message of [
    { rooms: ["r1"] },
    { rooms: ["r1", "r2"], except: ["x"] },
    {},
    { rooms: ["nobody"] },
    { rooms: [cluster.of(cluster.servers.at(-1))[0].id], volatile: true },
  ]) {
    await proveReport(cluster, publisher, message);
  }
}

async function reportOfBytes(cluster, publisher) {
  await proveReport(cluster, publisher, { rooms: ["r2"], args: [Buffer.from([1, 2])] });
}

async function proveReport(cluster, publisher, message) {
  const event = cluster.fresh("reported");
  const { coverage, ...reach } = await publisher.do("report", { ...message, event });
  const meant = cluster.members.filter((member) => member.isIn(message.rooms, message.except));
  const told = meant.filter(({ server }) => server.kind === "gateway").length;
  assert.deepEqual(coverage, coverageOfGateways(cluster));
  assert.deepEqual(reach, {
    sockets_matched: `${told}`,
    sockets_written: `${told}`,
    sockets_dropped: { not_ready: "0", queue_full: "0", closing: "0" },
  });
  await cluster.fence(publisher, message.rooms);
  cluster.assertGot(event, message.args ?? [], (member) => meant.includes(member));
}

async function reportOfChanges(cluster, publisher) {
  const room = cluster.fresh("room");
  const targets = { rooms: ["r1", "r2"], except: ["x"], report: "REPORT_REACH" };
  const moved = cluster.members.filter((member) => member.isIn(targets.rooms, targets.except));
  const told = moved.filter(({ server }) => server.kind === "gateway").length;
  const expected = { coverage: coverageOfGateways(cluster), sockets_matched: `${told}` };
  assert.deepEqual(await publisher.do("join", { ...targets, join: room }), expected);
  for (const member of moved) member.rooms.add(room);
  await cluster.agree(room);
  await cluster.prove(publisher, { rooms: [room] });
  assert.deepEqual(await publisher.do("leave", { ...targets, leave: room }), expected);
  for (const member of moved) member.rooms.delete(room);
  await cluster.agree(room);

  const guests = await Promise.all(cluster.servers.map((server) => Member.connect(server, "guest", { rooms: [room] })));
  const ends = guests.map(({ socket }) => next(socket, "disconnect"));
  const answer = await publisher.do("disconnect", { rooms: [room], report: "REPORT_REACH" });
  const gateways = cluster.servers.filter(({ kind }) => kind === "gateway").length;
  assert.deepEqual(answer, { ...expected, sockets_matched: `${gateways}` });
  await Promise.all(ends);
  await Promise.all(cluster.servers.map((server) => goneFrom(cluster, server, room)));
}

function coverageOfGateways({ servers }) {
  const gateways = servers.filter(({ kind }) => kind === "gateway").length;
  return {
    nodes_asked: servers.length,
    nodes_answered: gateways,
    nodes_missing: [],
    partial: gateways < servers.length,
  };
}

async function disconnect(close, cluster, publisher) {
  const room = cluster.fresh("leaving");
  const guests = await Promise.all(cluster.servers.map((server) => guest(server, room)));
  const ends = guests.map(({ root }) => next(root.socket, "disconnect"));
  const chatEnds = guests.map(({ chat }) => next(chat.socket, "disconnect"));
  await publisher.do("disconnect", { rooms: [room], close });
  // With `close` the connection may end before the client's next tick, in which it would look at the packet.
  const reasons = close ? ["io server disconnect", "transport close"] : ["io server disconnect"];
  for (const [reason] of await Promise.all(ends)) assert.ok(reasons.includes(reason), reason);
  if (!close) await Promise.all(guests.map(({ chat }) => chat.ask("still", "here")));
  for (const { chat } of guests) chat.socket.io.engine.close();
  await Promise.all(chatEnds);
  await Promise.all(guests.map(({ server }) => goneFrom(cluster, server, room)));
  // Nobody else was: all four of each server still get what is for them.
  await cluster.prove(publisher, {});
}

/** A client in `room` of `/`, and on the same connection in `/chat`. */
async function guest(server, room) {
  const root = await Member.connect(server, "guest", { rooms: [room] });
  const socket = root.socket.io.socket("/chat");
  await next(socket, "connect");
  return { server, root, chat: new Member(server, "guest in chat", socket, false) };
}

function goneFrom(cluster, server, room) {
  const gone = async () => (await cluster.knownIn(room, server)).length === 0;
  return eventually(gone, `${server.name} has nobody in ${room}`);
}

async function tell(cluster, publisher) {
  const text = cluster.fresh("told");
  const told = cluster.others(publisher, "heard");
  await publisher.do("tell", { event: "note", args: [text, { n: [1] }] });
  const heardBy = async (server) => (await server.do("heard")).filter(([, first]) => first === text);
  for (const server of told) {
    await eventually(async () => (await heardBy(server)).length > 0, `${server.name} hears ${text}`);
    assert.deepEqual(await heardBy(server), [["note", text, { n: [1] }]]);
  }
  if (publisher.can.has("heard")) assert.deepEqual(await heardBy(publisher), [], "not the one who tells");
}

async function ask(cluster, publisher) {
  const answering = cluster.others(publisher, "heard").map(({ name }) => name);
  const gateways = cluster.others(publisher, "serve").length - answering.length;
  const answers = await within(publisher.do("ask", { event: "question", args: ["?", 2] }), "answers of the servers");
  // A gateway has no handlers, and answers with nothing rather than not at all: Node would wait for it.
  const [said, nothing] = [answers.filter((answer) => answer !== null), answers.filter((answer) => answer === null)];
  assert.deepEqual(said.map(({ server }) => server).sort(), answering.sort());
  assert.ok(said.every(({ args }) => canonical(args) === canonical(["?", 2])));
  assert.equal(nothing.length, gateways, "answers of gateways");
}

async function numericRoom(cluster, publisher) {
  // A number of its own for each run: Node's sharded adapter may stay without the channel of a room that is left and
  // soon joined again. What Node compares by type, a gateway knows by the decimal text.
  const number = cluster.freshNumber();
  const nameAt = ({ server }) => (server.kind === "gateway" ? `${number}` : number);
  const joined = cluster.members.filter(({ role }) => role === "a");
  await Promise.all(joined.map((member) => member.ask("join", nameAt(member))));
  await cluster.listening(`${number}`, cluster.servers.length);
  await cluster.prove(publisher, { rooms: [number] }, { isMeant: (member) => joined.includes(member) });
  await cluster.prove(publisher, { rooms: [number, "nobody"] }, { isMeant: (member) => joined.includes(member) });
  await Promise.all(joined.map((member) => member.ask("leave", nameAt(member))));
}
