// Chromium with the client bundle that the gateway itself serves, on a page of the gateway's own origin.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { REPOSITORY } from "./harness.mjs";
import { controls } from "./suite.mjs";

const CHROMIUM = process.env.ROOMCAST_CHROMIUM ?? "/usr/bin/chromium";

/**
 * No sandbox: the tests run as root in containers. The last one: a page that a test answers itself counts as one
 * from the internet, which may not open WebSockets to this machine. The rest keeps the browser to itself.
 */
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
];

/** Where the page for scripted scenarios seems to lie; no gateway serves it. */
export const PAGE_PATH = "/clients-test-page/";

const MODULES = ["runner.mjs", "scenarios.mjs", "generations/scenarios.mjs", "kit.mjs", "deadline.mjs"];

/** Starts the browser; the caller closes it. */
export function startChromium() {
  return chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
}

/**
 * Opens a page of origin `url` in `context` with the client bundle loaded from `bundleUrl`, as `window.io`, and
 * `window.runScenario`. The page and the scenarios come from here, everything else from the network.
 */
export async function openTestPage(context, url, bundleUrl = `${url}/socket.io/socket.io.js`) {
  const page = await context.newPage();
  const serve = (path, contentType, body) =>
    page.route(url + PAGE_PATH + path, (route) => route.fulfill({ contentType, body }));
  await serve("", "text/html", pageText(bundleUrl));
  for (const file of MODULES) {
    await serve(file, "text/javascript", readFileSync(join(REPOSITORY, "tests/clients", file), "utf8"));
  }
  await page.goto(url + PAGE_PATH);
  await page.waitForFunction(() => window.runScenario && window.io);
  return page;
}

/** Opens a test page of `gateway` in a context of its own, with what scenarios may do there, for as long as `act` takes. */
export async function inTestPage(browser, gateway, act) {
  const context = await browser.newContext();
  try {
    const page = await openTestPage(context, gateway.url);
    for (const [called, control] of Object.entries(controls(gateway))) await page.exposeFunction(called, control);
    return await act(page);
  } finally {
    await context.close();
  }
}

/** Runs the scenario `name` in a test page of `gateway`; `ctx`: what it has to know of its client (runner.mjs). */
export function runInBrowser(browser, gateway, name, ctx) {
  const url = gateway.url;
  return inTestPage(browser, gateway, (page) => page.evaluate(runInPage, { name, ctx: { ...ctx, url } }));
}

/** Runs in the page, so it may use nothing from here. */
function runInPage({ name, ctx }) {
  const { io, publish, restart, runScenario } = window;
  return runScenario(name, { ...ctx, io, publish, restart });
}

function pageText(bundleUrl) {
  return `<!doctype html><title>clients test</title><link rel="icon" href="data:,">
    <script src="${bundleUrl}"></script>
    <script type="module">
      import { runScenario } from "./runner.mjs";
      window.runScenario = runScenario;
    </script>`;
}
