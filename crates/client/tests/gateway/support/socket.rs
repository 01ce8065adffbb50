//! A client of Socket.IO over WebSocket, by tungstenite: another implementation than the gateway's.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tokio::sync::mpsc;
use tungstenite::{Message, WebSocket};

use super::within;

/// What a test may leave unread.
const UNREAD_MAX: usize = 100_000;

/// A packet of Socket.IO as it came, attachments behind their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// One socket in a namespace. It answers pings, and events that ask for it: with its name.
pub(crate) struct Socket {
    pub(crate) id: String,
    packets: mpsc::Receiver<Packet>,
}

impl Socket {
    /// Connects to `/` and answers acknowledgements with `[name]`.
    pub(crate) async fn connect(address: SocketAddr, name: &str) -> Self {
        let (sender, packets) = mpsc::channel(UNREAD_MAX);
        let (connected, id) = tokio::sync::oneshot::channel();
        let name = name.to_owned();
        std::thread::spawn(move || {
            let stream = TcpStream::connect(address).unwrap();
            let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
            let (mut socket, _) = tungstenite::client(url, stream).unwrap();
            assert!(text(&mut socket).starts_with("0{"));
            socket.send(Message::text("40")).unwrap();
            let answer = text(&mut socket);
            let answer: Value = serde_json::from_str(answer.strip_prefix("40").unwrap()).unwrap();
            connected.send(answer["sid"].as_str().unwrap().to_owned()).unwrap();
            run(&mut socket, &name, &sender);
        });
        Self { id: within(id).await.unwrap(), packets }
    }

    /// The next packet; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        within(self.packets.recv()).await
    }

    /// The next packet as the text of an event's name and arguments.
    pub(crate) async fn event(&mut self) -> String {
        match self.next().await {
            Some(Packet::Text(text)) => text.strip_prefix("42").unwrap().to_owned(),
            other => panic!("{other:?} is no event"),
        }
    }

    /// The numbers that come as the one argument of `event`, up to `last`.
    pub(crate) async fn numbers(&mut self, event: &str, last: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            let (name, number): (String, u64) = serde_json::from_str(&self.event().await).unwrap();
            assert_eq!(name, event);
            numbers.push(number);
        }
        numbers
    }
}

fn text(socket: &mut WebSocket<TcpStream>) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

fn run(socket: &mut WebSocket<TcpStream>, name: &str, packets: &mpsc::Sender<Packet>) {
    // Until the gateway or the test ends.
    while let Ok(message) = socket.read() {
        let packet = match message {
            Message::Text(text) if text == "2" => {
                socket.send(Message::text("3")).ok();
                continue;
            }
            Message::Text(text) => {
                let digits = text[2..].chars().take_while(char::is_ascii_digit).count();
                if digits > 0 && text.starts_with("42") {
                    socket.send(Message::text(format!("43{}[\"{name}\"]", &text[2..2 + digits]))).ok();
                }
                Packet::Text(text.to_string())
            }
            Message::Binary(bytes) => Packet::Binary(bytes.to_vec()),
            _ => continue,
        };
        if packets.blocking_send(packet).is_err() {
            return;
        }
    }
}
