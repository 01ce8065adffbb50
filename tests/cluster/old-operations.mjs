// What only old adapters do: binary as packet type 5, values as notepack 2 writes them, requests for one socket at a
// time, and the numbering of requests that socket.io-redis 5 has for itself.

import assert from "node:assert/strict";

import { next } from "../clients/deadline.mjs";
import { Member } from "./kit/member.mjs";

const BYTES = [{ first: Buffer.from([0, 1, 255]) }, Buffer.from("xyz")];

/** By socket.io-redis 5. */
export const REVISION_5 = [
  { name: "binary as packet type 5", needs: ["revision-5"], run: binary },
  { name: "values as notepack 2 writes them", needs: ["revision-5"], run: values },
  { name: "clients, allRooms", needs: ["revision-5"], run: lists },
  { name: "clientRooms of each socket", needs: ["revision-5"], run: clientRooms },
  { name: "remoteJoin, remoteLeave of each socket", needs: ["revision-5"], run: move },
  { name: "remoteDisconnect of each socket", needs: ["revision-5"], run: disconnect.bind(null, false) },
  { name: "remoteDisconnect of each connection", needs: ["revision-5"], run: disconnect.bind(null, true) },
  { name: "customRequest", needs: ["revision-5"], run: custom },
];

/** By socket.io-redis 6 and what was made of it. */
export const REVISION_6 = [
  { name: "values as notepack 2 writes them", needs: ["revision-6"], run: values },
  { name: "sockets, allRooms", needs: ["revision-6"], run: lists },
  { name: "remoteJoin, remoteLeave of each socket", needs: ["revision-6"], run: move },
  { name: "remoteDisconnect of each socket", needs: ["revision-6"], run: disconnect.bind(null, false) },
];

/** Looked at where 2.x servers and gateways have clients: a 4.x server takes such a packet and loses its clients. */
async function binary(cluster, publisher) {
  for (const rooms of [[], ["r1"], ["r1", "r2"]]) await cluster.prove(publisher, { rooms, args: BYTES });
}

/** Looked at where gateways have clients, and where a 3.x publisher has: Node's other versions lose some of these. */
async function values(cluster, publisher) {
  const args = [
    new Date(1_700_000_000_123),
    undefined,
    { left: undefined, n: [Number.NaN] },
    2 ** 40,
    new Uint8Array([7]),
  ];
  const got = ["2023-11-14T22:13:20.123Z", null, { n: [null] }, 2 ** 40, Buffer.from([7])];
  const isExact = ({ server }) => server.kind === "gateway" || (server === publisher && server.kind === "server-3");
  const among = cluster.members.filter(isExact);
  await cluster.prove(publisher, { args }, { args: got, among });
}

async function lists(cluster, publisher) {
  const ids = (rooms) => cluster.members.filter((member) => member.isIn(rooms)).map(({ id }) => id);
  const names = new Set(cluster.members.flatMap((member) => [member.id, ...member.rooms]));
  assert.deepEqual((await publisher.do("rooms")).sort(), [...names].sort());
  for (const rooms of [[], ["r1"], ["r1", "x"], ["nobody"]]) {
    assert.deepEqual((await publisher.do("ids", { rooms })).sort(), ids(rooms).sort(), rooms.join());
  }
}

async function clientRooms(cluster, publisher) {
  for (const member of cluster.members) {
    const rooms = await publisher.do("roomsOf", { id: member.id });
    assert.deepEqual(rooms.sort(), [member.id, ...member.rooms].sort(), member.name);
  }
}

async function move(cluster, publisher) {
  const room = cluster.fresh("room");
  for (const server of cluster.servers) {
    const [member] = cluster.of(server);
    await publisher.do("remoteJoin", { id: member.id, room });
    member.rooms.add(room);
  }
  await cluster.agree(room);
  await cluster.prove(publisher, { rooms: [room] });
  for (const server of cluster.servers) {
    const [member] = cluster.of(server);
    await publisher.do("remoteLeave", { id: member.id, room });
    member.rooms.delete(room);
  }
  await cluster.agree(room);
  await cluster.prove(publisher, { rooms: [room] });
}

async function disconnect(close, cluster, publisher) {
  for (const server of cluster.servers) {
    const guest = await Member.connect(server, "guest");
    const end = next(guest.socket, "disconnect");
    await publisher.do("remoteDisconnect", { id: guest.id, close });
    const [reason] = await end;
    assert.ok(["io server disconnect", ...(close ? ["transport close"] : [])].includes(reason), reason);
    guest.close();
  }
  // Nobody else is gone.
  await cluster.prove(publisher, {});
}

async function custom(cluster, publisher) {
  const answers = await publisher.do("custom", { data: { n: 1 } });
  const servers = cluster.servers.filter(({ kind }) => kind === "server-2");
  const said = answers.filter((answer) => answer);
  assert.deepEqual(said.map(({ server }) => server).sort(), servers.map(({ name }) => name).sort());
  // Whoever is counted answers: a gateway, which has no handler, with nothing.
  assert.equal(answers.length, cluster.servers.length);
}
