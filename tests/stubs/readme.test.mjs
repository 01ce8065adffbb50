// "Publish from your back end" of the README, run as it stands against a real publisher, in front of a gateway with a
// real client: in Python, Go and Node with stubs generated from the proto, and with curl.

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

/** File, set-up behind the README's commands, and how it is run. */
const LANGUAGES = {
  python: { name: "Python", file: "news.py", run: "python news.py" },
  go: { name: "Go", file: "main.go", more: "go mod tidy", run: "go run ." },
  js: { name: "Node", file: "news.mjs", run: "node news.mjs" },
};

describe("what the README tells back ends", () => {
  let redis, gateway, publisher, reader;
  const folders = [];

  before(async () => {
    redis = await startRedis();
    gateway = await startParticipant("gateway", { kind: "gateway", redis });
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

  for (const [language, { name, file, more = "true", run }] of Object.entries(LANGUAGES)) {
    test(`${name}: a stub generated from the proto publishes`, async () => {
      const folder = folderWithProto();
      const { setUp, program } = example(language, publisher.grpcAddress);
      writeFileSync(join(folder, file), program);
      await shell(folder, `${setUp}\n${more}`);
      const news = next(reader.socket, "news");
      assert.match(await shell(folder, run), MESSAGE_ID);
      assert.deepEqual(await news, [{ text: `hello from ${name}` }]);
    });
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
    await Promise.allSettled([publisher?.stop(), gateway?.stop()]);
    await redis?.stop();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
});
