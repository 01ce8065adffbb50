// "Publish from your back end" of the README, run as it stands against a real publisher, in front of a gateway and a
// Node server with real clients: in Python, Go and Node with stubs generated from the proto, and with curl. Beyond the
// README, every call in Python and Go; that Node can make them is what tests/cluster is made of.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import { next } from "../clients/deadline.mjs";
import { REPOSITORY } from "../clients/harness.mjs";
import { Member } from "../cluster/kit/member.mjs";
import { startParticipant } from "../cluster/kit/participants.mjs";
import { startRedis } from "../cluster/kit/redis.mjs";
import { commands, example } from "./readme.mjs";

/** How long fetching and compiling may take: grpc-go from its sources, in ms. */
const SET_UP_MS = 300_000;

const MESSAGE_ID = /^[0-9A-Z]{26}\b/m;

/** What came of each call, in the words of `every_rpc.*`. */
const EVERY_RPC = {
  Publish: 26,
  PublishBatch: 2,
  PublishStream: [3, 4, 5],
  Call: { answers: ["gateway/guest", "server/guest"], end: "CALL_END_ALL" },
  JoinRooms: 2,
  FetchSockets: [1, 1],
  ListRooms: ["vip"],
  LeaveRooms: 0,
  ServerSideEmit: 2,
  refused: { code: 3, names: "message.event" },
  DisconnectSockets: 0,
};

/** File, set-up behind the README's commands, and how it is run. */
const LANGUAGES = {
  python: { name: "Python", file: "news.py", run: "python news.py", every: "every_rpc.py" },
  go: { name: "Go", file: "main.go", more: "go mod tidy", run: "go run .", every: "every_rpc.go" },
  js: { name: "Node", file: "news.mjs", run: "node news.mjs" },
};

describe("what the README tells back ends", () => {
  let redis, gateway, server, publisher, reader;
  const folders = [];

  before(async () => {
    redis = await startRedis();
    gateway = await startParticipant("gateway", { kind: "gateway", redis });
    server = await startParticipant("server", { kind: "server-4", redis });
    publisher = await startParticipant("publisher", { kind: "publisher", redis });
    reader = await Member.connect(gateway, "reader", { rooms: ["lobby"] });
  });

  /** Runs `text` in a shell in a folder with the proto; what it printed. */
  async function shell(folder, text) {
    const bin = join(folder, "bin");
    const path = [bin, process.env.ROOMCAST_PYTHON_BIN, process.env.PATH].filter(Boolean).join(delimiter);
    const options = { cwd: folder, timeout: SET_UP_MS, env: { ...process.env, PATH: path, GOBIN: bin } };
    const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", text], options);
    return stdout;
  }

  function folderWithProto() {
    const folder = mkdtempSync(join(tmpdir(), "roomcast-stubs-"));
    folders.push(folder);
    cpSync(join(REPOSITORY, "proto"), join(folder, "proto"), { recursive: true });
    return folder;
  }

  for (const [language, { name, file, more = "true", run, every }] of Object.entries(LANGUAGES)) {
    test(`${name}: a stub generated from the proto publishes${every ? ", and makes every call" : ""}`, async () => {
      const folder = folderWithProto();
      const { setUp, program } = example(language, publisher.grpcAddress);
      writeFileSync(join(folder, file), program);
      await shell(folder, `${setUp}\n${more}`);
      const news = next(reader.socket, "news");
      assert.match(await shell(folder, run), MESSAGE_ID);
      assert.deepEqual(await news, [{ text: `hello from ${name}` }]);
      if (every) await proveEveryRpc(folder, file, every, run);
    });
  }

  /** Replaces the README's program by one that makes every call, and looks at what came of it at clients of each node. */
  async function proveEveryRpc(folder, file, every, run) {
    const connecting = [gateway, server].map((each) => Member.connect(each, "guest", { rooms: ["guests"] }));
    const guests = await Promise.all(connecting);
    const ends = guests.map(({ socket }) => next(socket, "disconnect"));
    cpSync(join(REPOSITORY, "tests/stubs", every), join(folder, file));
    assert.deepEqual(JSON.parse(await shell(folder, `${run} ${publisher.grpcAddress}`)), EVERY_RPC);
    for (const [reason] of await Promise.all(ends)) assert.equal(reason, "io server disconnect");
    for (const guest of guests) assert.deepEqual(guest.got("news"), [[0], [1], [2], [3], [4], [5]], guest.name);
  }

  test("curl: HTTP with JSON publishes and counts", async () => {
    const news = next(reader.socket, "news");
    const printed = await shell(folderWithProto(), commands("/v1/sockets/count", publisher.grpcAddress));
    assert.match(printed, /"messageId":"[0-9A-Z]{26}"/);
    assert.match(printed, /"sockets":"?1\b/);
    assert.deepEqual(await news, [{ text: "hello from curl" }]);
  });

  after(async () => {
    reader?.close();
    await Promise.allSettled([publisher?.stop(), gateway?.stop(), server?.stop()]);
    await redis?.stop();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
});
