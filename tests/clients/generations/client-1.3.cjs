// socket.io-client 1.3 as dpd-clientlib 1.0.0 carries it: a script for pages. Here it gets what clients of its time
// had in Node: an XMLHttpRequest without binary, and `ws`.

const { readFileSync } = require("node:fs");

const WebSocket = require("ws");
const { XMLHttpRequest } = require("xmlhttprequest-ssl");

const script = readFileSync(require.resolve("dpd-clientlib/clib/socket.io.js"), "utf8");
const self = Object.assign(Object.create(globalThis), { XMLHttpRequest });
const page = { self, window: self, navigator: { userAgent: "" }, XMLHttpRequest, module, exports };

// It looks for WebSocket in the global object itself, once; no other client here is to find one there.
const before = globalThis.WebSocket;
globalThis.WebSocket = WebSocket;
new Function(...Object.keys(page), script)(...Object.values(page));
globalThis.WebSocket = before;
