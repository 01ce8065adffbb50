//! rust_socketio behind the lines of `../client.mjs`: commands come on standard input, happenings go out on standard
//! output. It has a connection per namespace, one attachment per message, and no word for the id of a socket.

use std::{collections::HashMap, error::Error, io, io::Write as _, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rust_socketio::{
    Event, Payload, RawClient, TransportType,
    client::{Client, ClientBuilder},
};
use serde_json::{Value, json};

/// How long an acknowledgement may take.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

type Clients = HashMap<String, Client>;

fn main() -> Result<(), Box<dyn Error>> {
    let setup: Value = serde_json::from_str(&std::env::args().nth(1).ok_or("no set-up given")?)?;
    let mut clients = Clients::new();
    for namespace in setup["namespaces"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match connect(&setup, namespace) {
            Ok(client) => drop(clients.insert(namespace.into(), client)),
            Err(error) => tell(json!({ "what": "failed", "message": error.to_string() })),
        }
    }
    for line in io::stdin().lines() {
        emit(&clients, &serde_json::from_str(&line?)?)?;
    }
    for client in clients.values() {
        client.disconnect()?;
    }
    Ok(())
}

fn connect(setup: &Value, namespace: &str) -> Result<Client, rust_socketio::Error> {
    let transport = match setup["transport"].as_str() {
        Some("websocket") => TransportType::Websocket,
        Some("polling") => TransportType::Polling,
        _ => TransportType::WebsocketUpgrade,
    };
    let name = namespace.to_owned();
    let mut builder = ClientBuilder::new(setup["url"].as_str().unwrap_or_default())
        .namespace(namespace)
        .transport_type(transport)
        .reconnect_on_disconnect(true)
        .reconnect_delay(100, 200)
        .on(Event::Connect, {
            let name = name.clone();
            move |_, _| tell(json!({ "what": "connected", "namespace": name }))
        })
        .on(Event::Close, {
            let name = name.clone();
            move |_, _| tell(json!({ "what": "disconnected", "namespace": name }))
        })
        .on(Event::Error, {
            let name = name.clone();
            move |error, _| tell(json!({ "what": "refused", "namespace": name, "data": args(error) }))
        })
        .on_any(move |event, payload, _| {
            let event = String::from(event);
            tell(json!({ "what": "event", "namespace": name, "event": event, "args": args(payload) }));
        });
    if !setup["auth"].is_null() {
        builder = builder.auth(setup["auth"].clone());
    }
    builder.connect()
}

fn emit(clients: &Clients, command: &Value) -> Result<(), Box<dyn Error>> {
    let namespace = command["namespace"].as_str().unwrap_or("/");
    let client = clients.get(namespace).ok_or("not connected")?;
    let event = command["event"].as_str().ok_or("no event")?;
    let data = payload(command["args"].as_array().cloned().unwrap_or_default())?;
    let Some(ack) = command["ack"].as_u64() else { return Ok(client.emit(event, data)?) };
    let answered = move |answer: Payload, _: RawClient| {
        // It hands over the list of all arguments as one argument.
        tell(json!({ "what": "ack", "ack": ack, "args": args(answer)[0] }));
    };
    Ok(client.emit_with_ack(event, data, ACK_TIMEOUT, answered)?)
}

/// Bytes travel as `{"$bytes": base64}` in the lines.
fn payload(args: Vec<Value>) -> Result<Payload, Box<dyn Error>> {
    Ok(match args.first().and_then(|first| first["$bytes"].as_str()) {
        Some(base64) => Payload::from(BASE64_STANDARD.decode(base64)?),
        None => Payload::Text(args),
    })
}

#[expect(deprecated, reason = "it may still come")]
fn args(payload: Payload) -> Value {
    match payload {
        Payload::Binary(bytes) => json!([{ "$bytes": BASE64_STANDARD.encode(bytes) }]),
        Payload::Text(values) => Value::Array(values),
        Payload::String(text) => json!([text]),
    }
}

fn tell(happening: Value) {
    let mut out = io::stdout().lock();
    writeln!(out, "{happening}").and_then(|()| out.flush()).expect("standard output is read");
}
