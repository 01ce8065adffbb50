// The demo page as people use it: two of them chat, a back end publishes, the connection breaks and returns.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { startChromium } from "../browser.mjs";
import { startGateway } from "../harness.mjs";

const PHONE = { width: 360, height: 740 };

const pictures = mkdtempSync(join(tmpdir(), "roomcast-demo-"));
let browser;
let gateway;

before(async () => {
  gateway = await startGateway();
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** Somebody with the demo page open, in the lobby and upgraded; whatever goes wrong in the page is in `faults`. */
async function visitor(name, options = {}) {
  const context = await browser.newContext(options);
  await context.addInitScript((own) => localStorage.setItem("roomcast.name", JSON.stringify(own)), name);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (line) => line.type() === "error" && faults.push(line.text()));
  await page.goto(`${gateway.url}/`);
  await settled(page);
  return { page, faults };
}

async function settled(page) {
  await page.waitForFunction(() => document.querySelector("#transport").textContent === "websocket");
  await page.waitForFunction(() => document.querySelector("#room-state").textContent === "");
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

function message(page, text) {
  return page.locator("#messages .text", { hasText: text });
}

test("two_people_chat_and_a_back_end_joins_in", async () => {
  const [ada, bob] = [await visitor("Ada"), await visitor("Bob", { viewport: PHONE, colorScheme: "dark" })];
  await say(ada.page, "hé€😀 <b>plain</b>");
  await message(bob.page, "hé€😀 <b>plain</b>").waitFor();
  await say(bob.page, "good morning");
  await message(ada.page, "good morning").waitFor();
  await ada.page.locator(".mine[data-state=sent]").waitFor();
  await gateway.emit("news", [{ room: "lobby", text: "from a back end" }], { rooms: ["lobby"] });
  for (const { page } of [ada, bob]) {
    const event = page.locator(".event", { hasText: "from a back end" });
    await event.waitFor({ state: "attached" });
    assert.match(await event.textContent(), /^news lobby/);
  }
  await ada.page.screenshot({ path: join(pictures, "desk.png") });
  await bob.page.screenshot({ path: join(pictures, "phone.png") });
  console.log(`screenshots: ${pictures}`);
  assert.deepEqual([...ada.faults, ...bob.faults], []);
});

test("rooms_are_apart", async () => {
  const [ada, bob] = [await visitor("Ada"), await visitor("Bob")];
  for (const { page } of [ada, bob]) {
    await page.fill("#room", "den");
    await page.press("#room", "Enter");
    await settled(page);
  }
  await bob.page.getByRole("button", { name: "lobby", exact: true }).click();
  await say(ada.page, "only in the den");
  await bob.page.locator(".rooms .count", { hasText: "1" }).waitFor();
  assert.equal(await message(bob.page, "only in the den").count(), 0);
  await bob.page.getByRole("button", { name: "den" }).click();
  await message(bob.page, "only in the den").waitFor();
  await bob.page.click("#leave");
  await ada.page.locator(".notice", { hasText: "Bob left" }).waitFor();
  assert.equal(await bob.page.getByRole("button", { name: "den" }).count(), 0);
});

test("command_is_ready_to_paste", async () => {
  const { page } = await visitor("Ada");
  await page.fill("#room", "it's $HOME");
  await page.press("#room", "Enter");
  const command = await page.textContent("#command");
  assert.match(command, /^grpcurl -plaintext -d '\{"message":/);
  assert.match(command, /127\.0\.0\.1:50051 roomcast\.v1\.Publisher\/Publish$/);
  const word = /-d '(.*)' \\\n/.exec(command)[1].replaceAll("'\\''", "'");
  assert.deepEqual(JSON.parse(word).message.rooms, ["it's $HOME"]);
});

test("page_does_not_scroll_sideways_on_a_phone", async () => {
  const { page } = await visitor("Ada", { viewport: PHONE });
  for (const view of ["chat", "feed", "connection"]) {
    await page.click(`.tabs [data-view=${view}]`);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `${view} is ${over} px too wide`);
  }
});

test("what_is_written_while_away_arrives_after_the_return", async () => {
  const [ada, bob] = [await visitor("Ada"), await visitor("Bob")];
  await gateway.kill();
  await ada.page.locator("#banner").waitFor();
  await bob.page.locator("#banner").waitFor();
  await say(ada.page, "written while away");
  await ada.page.locator(".mine[data-state=waiting]").waitFor();
  await gateway.start();
  await settled(bob.page);
  await settled(ada.page);
  await ada.page.locator(".mine[data-state=sent]", { hasText: "written while away" }).waitFor();
  assert.equal(await ada.page.textContent("#reconnects"), "1");
  // Bob may have come back behind the message; both are there for the next.
  await say(ada.page, "back again");
  await message(bob.page, "back again").waitFor();
});
