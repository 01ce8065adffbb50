// What clients of every server here may do, the same as with `roomcast-gateway --dev`: join, leave, and have other
// events relayed to the rooms they are in. Written with what socket.io 2, 3 and 4 share.

const OK = { status: "ok" };

/** Serves the clients of `namespace`; `data` is kept with each socket, where sockets have such a thing. */
export function serveClients(namespace, data = {}) {
  namespace.on("connection", (socket) => {
    if (socket.data) Object.assign(socket.data, data);
    socket.use(([event, ...args]) => handle(socket, event, args));
  });
}

function handle(socket, event, args) {
  const ack = typeof args.at(-1) === "function" ? args.pop() : () => {};
  if (event === "join" || event === "leave") return move(socket, event, args[0], ack);
  const rooms = roomsOf(socket);
  if (rooms.length > 0) rooms.reduce((target, room) => target.to(room), socket).emit(event, ...args);
  return ack(OK);
}

function move(socket, how, room, ack) {
  // 2.x ends it later, says so by a callback, and gives the socket back; later versions know no callback.
  if (socket[how](room, () => ack(OK)) !== socket) ack(OK);
}

function roomsOf(socket) {
  const all = socket.rooms instanceof Set ? [...socket.rooms] : Object.keys(socket.rooms);
  return all.filter((room) => room !== socket.id);
}
