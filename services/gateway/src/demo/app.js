// The demo page: chat in rooms, what back ends publish, and the state of the connection, with the ordinary
// Socket.IO client. Whatever comes from others goes into the page as text, never as markup.
"use strict";

/** The chat's own events; every other event that arrives is taken for a back end's. */
const CHAT = "chat:message";
const NOTICE = "chat:notice";
const MESSAGES_PER_ROOM = 300;
const EVENTS_SHOWN = 100;
const LOG_LINES = 40;
const TRIPS_SHOWN = 24;
const TRIP_PAUSE_MS = 2000;
const ACK_PATIENCE_MS = 8000;

const byId = (id) => document.getElementById(id);
const page = document.body;
const socket = io({ transports: ["polling", "websocket"], autoConnect: false, reconnectionDelayMax: 3000 });

/** Name → { joined, messages: [], unread }. A room is here from the wish to join until it is left. */
const rooms = new Map();
let current = "";
let connects = 0;
let eventsUnread = 0;
const trips = [];

// ---- Small helpers -------------------------------------------------------------------------------------------

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function clock(at) {
  const time = element("time", "at", new Date(at).toLocaleTimeString([], { hour12: false }));
  time.dateTime = new Date(at).toISOString();
  return time;
}

/** A list that reads like a log: keeps to its end unless its reader has scrolled back, and stays bounded. */
function append(list, item, most) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.childElementCount > most) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function prepend(list, item, most) {
  list.prepend(item);
  while (list.childElementCount > most) list.lastElementChild.remove();
}

/** Kept settings; private windows may have none. */
function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(`roomcast.${key}`));
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(`roomcast.${key}`, JSON.stringify(value));
  } catch {
    // Without storage the page only forgets.
  }
}

// ---- Rooms ---------------------------------------------------------------------------------------------------

function addRoom(name) {
  if (!rooms.has(name)) {
    rooms.set(name, { joined: false, messages: [], unread: 0 });
    joinRoom(name);
  }
  showRoom(name);
}

/** Asks for the room; what was written for it meanwhile is sent once it is joined. */
function joinRoom(name) {
  const room = rooms.get(name);
  if (!socket.connected) return;
  ask("join", name)
    .then((answer) => {
      if (rooms.get(name) !== room) return;
      if (answer?.status !== "ok") throw new Error(answer?.message ?? "no reason given");
      room.joined = true;
      socket.emit(NOTICE, { room: name, name: myName(), what: "joined" });
      for (const message of room.messages) if (message.state === "waiting") deliver(message);
      renderRooms();
    })
    // A lost connection is no refusal: every room is asked for again on return.
    .catch((error) => socket.connected && logLine(`Joining ${name} failed: ${error.message}`));
}

function leaveRoom(name) {
  if (rooms.get(name)?.joined) {
    socket.emit(NOTICE, { room: name, name: myName(), what: "left" });
    ask("leave", name).catch(() => {});
  }
  rooms.delete(name);
  showRoom(rooms.keys().next().value ?? "");
}

function showRoom(name) {
  current = name;
  const room = rooms.get(name);
  if (room) room.unread = 0;
  byId("messages").replaceChildren(...(room?.messages ?? []).map(messageItem));
  byId("messages").scrollTop = byId("messages").scrollHeight;
  keep("rooms", [...rooms.keys()]);
  keep("current", current);
  renderRooms();
  renderCommand();
}

function renderRooms() {
  const items = [...rooms].map(([name, room]) => {
    const button = element("button", "room", name);
    button.type = "button";
    if (name === current) button.setAttribute("aria-current", "true");
    if (room.unread > 0) {
      const count = element("span", "count", String(room.unread));
      count.setAttribute("aria-label", `${room.unread} unread`);
      button.append(" ", count);
    }
    button.addEventListener("click", () => showRoom(name));
    const item = element("li");
    item.append(button);
    return item;
  });
  byId("rooms").replaceChildren(...items);
  byId("current").textContent = current || "No room";
  byId("room-state").textContent = !current ? "Join one to talk." : rooms.get(current).joined ? "" : "joining …";
  byId("leave").hidden = !current;
  for (const field of byId("send").elements) field.disabled = !current;
}

// ---- Messages ------------------------------------------------------------------------------------------------

function myName() {
  return byId("name").value.trim() || "Somebody";
}

function sendText(text) {
  const message = {
    id: crypto.randomUUID?.() ?? String(Math.random()),
    room: current,
    name: myName(),
    text,
    at: Date.now(),
    mine: true,
    state: "waiting",
  };
  addMessage(message);
  if (rooms.get(current).joined && socket.connected) deliver(message);
}

/** Sends one own message; one whose connection ended on the way waits for the next. */
function deliver(message) {
  const { id, room, name, text, at } = message;
  setState(message, "sending");
  ask(CHAT, { id, room, name, text, at })
    .then((answer) => setState(message, answer?.status === "ok" ? "sent" : "failed"))
    .catch(() => setState(message, socket.connected ? "failed" : "waiting"));
}

function setState(message, state) {
  message.state = state;
  const item = document.querySelector(`[data-id="${CSS.escape(message.id)}"]`);
  if (item) renderState(item, state);
}

/** Changes the item in place: a new one would be read out again. */
function renderState(item, state) {
  item.dataset.state = state;
  item.querySelector(".delivery").textContent = STATE_WORDS[state];
  item.querySelector("button").hidden = state !== "failed";
}

function receiveChat(given) {
  const message = { ...cleaned(given), mine: false };
  // The gateway relays to all rooms of the sender, and somebody may share another one with us.
  const room = rooms.get(message.room);
  if (!room || !message.text) return;
  // A sender that lost the acknowledgement sends again.
  if (room.messages.some((known) => known.id === message.id)) return;
  addMessage(message);
}

function receiveNotice(given) {
  const { room, name } = cleaned(given);
  const what = given?.what === "left" ? "left" : "joined";
  if (rooms.has(room)) addMessage({ id: "", room, at: Date.now(), notice: `${name} ${what}` });
}

/** The fields of a message as short texts, whatever was sent. */
function cleaned(given) {
  const text = (key, most) => (typeof given?.[key] === "string" ? given[key].slice(0, most) : "");
  const at = Number.isFinite(given?.at) && Math.abs(given.at) < 8e15 ? given.at : Date.now();
  return { id: text("id", 60), room: text("room", 256), name: text("name", 40) || "Somebody", text: text("text", 2000), at };
}

function addMessage(message) {
  const room = rooms.get(message.room);
  room.messages.push(message);
  if (room.messages.length > MESSAGES_PER_ROOM) room.messages.shift();
  if (message.room === current) {
    append(byId("messages"), messageItem(message), MESSAGES_PER_ROOM);
  } else if (!message.notice) {
    room.unread += 1;
    renderRooms();
  }
}

const STATE_WORDS = { waiting: "waiting for the connection", sending: "sending …", sent: "delivered", failed: "not delivered" };

function messageItem(message) {
  if (message.notice) {
    const item = element("li", "notice", message.notice);
    item.append(" ", clock(message.at));
    return item;
  }
  const item = element("li", message.mine ? "message mine" : "message");
  item.dataset.id = message.id;
  const head = element("p", "head");
  head.append(element("strong", "", message.mine ? "You" : message.name), " ", clock(message.at));
  if (!message.mine) {
    const face = element("span", "face", [...message.name][0]);
    face.setAttribute("aria-hidden", "true");
    face.style.setProperty("--hue", hue(message.name));
    item.append(face);
  } else {
    const again = element("button", "quiet", "Send again");
    again.type = "button";
    again.addEventListener("click", () => deliver(message));
    head.append(" ", element("span", "delivery"), " ", again);
  }
  item.append(head, element("p", "text", message.text));
  if (message.mine) renderState(item, message.state);
  return item;
}

function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return String(sum);
}

// ---- What back ends publish ----------------------------------------------------------------------------------

function receiveEvent(event, args) {
  if (event === CHAT || event === NOTICE) return;
  const item = element("li", "event");
  const head = element("p", "head");
  head.append(element("strong", "mono", event));
  const room = args.find((each) => typeof each?.room === "string")?.room;
  if (room) head.append(" ", element("span", "tag", room));
  head.append(" ", clock(Date.now()));
  item.append(head, element("pre", "", argumentsText(args)));
  prepend(byId("events"), item, EVENTS_SHOWN);
  byId("events-empty").hidden = true;
  ripple();
  if (page.dataset.view !== "feed") setEventsUnread(eventsUnread + 1);
}

function argumentsText(args) {
  const texts = args.map((each) => JSON.stringify(each, showBinary, 2) ?? "undefined");
  return texts.length === 0 ? "no arguments" : texts.join(",\n");
}

function showBinary(_, value) {
  if (!(value instanceof ArrayBuffer)) return value;
  const bytes = [...new Uint8Array(value, 0, Math.min(16, value.byteLength))];
  const shown = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `<${value.byteLength} bytes: ${shown}${value.byteLength > 16 ? " …" : ""}>`;
}

function setEventsUnread(count) {
  eventsUnread = count;
  byId("feed-unread").textContent = String(count);
  byId("feed-unread").hidden = count === 0;
}

/** Lets the mark in the corner send out a wave. */
function ripple() {
  page.classList.remove("rippling");
  requestAnimationFrame(() => page.classList.add("rippling"));
}

/** `text` as one word of a POSIX shell. */
function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Where the publish API listens: `?grpc=host:port`, else this host and the default port. */
function grpcAddress() {
  const given = new URLSearchParams(location.search).get("grpc") ?? "";
  return /^[\w.-]+:\d{1,5}$/.test(given) ? given : `${location.hostname}:50051`;
}

function renderCommand() {
  const args = [{ room: current, text: "hello from a back end" }];
  const message = { namespace: "/", rooms: current ? [current] : [], event: "news", arguments: JSON.stringify(args) };
  const tool = document.querySelector("[name=tool]:checked").value;
  const commands = {
    grpcurl:
      `grpcurl -plaintext -d ${shellQuoted(JSON.stringify({ message }))} \\\n` +
      `  ${grpcAddress()} roomcast.v1.Publisher/Publish`,
    xtask:
      `cargo xtask publish --to ${grpcAddress()} \\\n` +
      `  ${shellQuoted(current)} news ${shellQuoted(JSON.stringify(args[0]))}`,
  };
  // No room means everybody, there and in both commands.
  byId("command-room").textContent = current || "everybody";
  byId("command").textContent = commands[tool];
}

async function copyCommand() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard for pages over plain HTTP from another machine: the old way still works there.
    getSelection().selectAllChildren(byId("command"));
    document.execCommand("copy");
  }
  byId("copy").textContent = "Copied";
  setTimeout(() => (byId("copy").textContent = "Copy"), 1500);
}

// ---- Connection ----------------------------------------------------------------------------------------------

/** Emits with an acknowledgement; rejects when it is late or the connection is lost. */
function ask(event, ...args) {
  return socket.timeout(ACK_PATIENCE_MS).emitWithAck(event, ...args);
}

function renderConnection() {
  const transport = socket.connected ? socket.io.engine.transport.name : "";
  const state = socket.connected ? "connected" : page.dataset.state === "connected" ? "lost" : page.dataset.state;
  page.dataset.state = state;
  const words = { connected: "Connected", connecting: "Connecting", lost: "Reconnecting" };
  byId("state").textContent = words[state];
  byId("over").textContent = transport && ` over ${transport}`;
  byId("transport").textContent = transport || "none";
  byId("socket-id").textContent = socket.id ?? "none";
  byId("reconnects").textContent = String(Math.max(0, connects - 1));
  for (const step of byId("path").children) step.classList.toggle("lit", step.dataset.step === transport);
  byId("path").classList.toggle("upgraded", transport === "websocket" && byId("transports").value.includes("polling"));
  byId("banner").hidden = state !== "lost";
}

function logLine(text) {
  const item = element("li");
  item.append(clock(Date.now()), " ", text);
  prepend(byId("log"), item, LOG_LINES);
}

/** Measures the way there and back by an acknowledgement. */
async function measure() {
  if (!socket.connected || document.hidden) return;
  const start = performance.now();
  // Leaving a room nobody is in is the one event that is answered and not relayed to others.
  await ask("leave", "round-trip");
  trips.push(performance.now() - start);
  if (trips.length > TRIPS_SHOWN) trips.shift();
  renderTrips();
}

function renderTrips() {
  const last = trips.at(-1);
  byId("round-trip").textContent = `${last.toFixed(last < 10 ? 1 : 0)} ms`;
  const top = Math.max(...trips, 1);
  const x = (at) => ((at + TRIPS_SHOWN - trips.length) * 96) / (TRIPS_SHOWN - 1);
  const points = trips.map((trip, at) => `${x(at).toFixed(1)},${(22 - (trip / top) * 20).toFixed(1)}`);
  byId("trips").firstElementChild.setAttribute("points", points.join(" "));
}

// Each connection has an engine of its own. It is open before the namespace is joined, and may upgrade before.
socket.io.on("open", () => {
  const { engine } = socket.io;
  const opened = performance.now();
  connects += 1;
  logLine(`${connects > 1 ? "Back" : "Connected"} over ${engine.transport.name}`);
  engine.once("upgrade", (transport) => {
    logLine(`Upgraded to ${transport.name} after ${Math.round(performance.now() - opened)} ms`);
    renderConnection();
  });
});

socket.on("connect", () => {
  renderConnection();
  for (const name of rooms.keys()) joinRoom(name);
  measure().catch(() => {});
});

socket.on("disconnect", (reason) => {
  for (const room of rooms.values()) room.joined = false;
  logLine(`Disconnected: ${reason}`);
  byId("banner").textContent = "Connection lost. What you write now is sent when it is back.";
  renderConnection();
  renderRooms();
});

socket.io.on("reconnect_attempt", (attempt) => {
  byId("banner").textContent = `Connection lost, attempt ${attempt}. What you write now is sent when it is back.`;
});

socket.on("connect_error", (error) => {
  logLine(`No connection: ${error.message}`);
  renderConnection();
});

socket.on(CHAT, receiveChat);
socket.on(NOTICE, receiveNotice);
socket.onAny((event, ...args) => receiveEvent(event, args));

// ---- Controls ------------------------------------------------------------------------------------------------

byId("join").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const name = byId("room").value.trim();
  if (name) addRoom(name);
  byId("room").value = "";
  byId("text").focus();
});

byId("send").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const text = byId("text").value.trim();
  if (text && current) sendText(text);
  byId("text").value = "";
});

byId("leave").addEventListener("click", () => leaveRoom(current));
byId("copy").addEventListener("click", copyCommand);
byId("name").addEventListener("change", () => keep("name", myName()));
for (const tool of document.getElementsByName("tool")) tool.addEventListener("change", renderCommand);

byId("transports").addEventListener("change", () => {
  socket.io.opts.transports = byId("transports").value.split(",");
  socket.disconnect();
  socket.connect();
});

for (const tab of document.querySelectorAll(".tabs button")) {
  tab.addEventListener("click", () => {
    page.dataset.view = tab.dataset.view;
    for (const each of document.querySelectorAll(".tabs button")) each.setAttribute("aria-pressed", String(each === tab));
    if (tab.dataset.view === "feed") setEventsUnread(0);
  });
}

setInterval(() => measure().catch(() => {}), TRIP_PAUSE_MS);

const NAMES = ["Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Hedy", "Joan", "Katherine", "Leslie", "Radia", "Tony"];
byId("name").value = recall("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)];
const last = recall("current");
for (const name of recall("rooms") ?? ["lobby"]) addRoom(String(name));
showRoom(rooms.has(last) ? last : (rooms.keys().next().value ?? ""));
const asked = new URLSearchParams(location.search).get("room");
if (asked) addRoom(asked);
renderConnection();
socket.connect();
