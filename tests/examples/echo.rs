//! A WebSocket server that echoes, on the frame layer of the gateway and nothing else: what the public test suite for
//! WebSockets (Autobahn) is run against.
//!
//! ```text
//! cargo run --package roomcast-tests --example echo -- 127.0.0.1:9001
//! wstest --mode fuzzingclient --spec tests/examples/autobahn.json
//! ```

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use websocket::{Decoder, Deflate, Deflater, Inflater, Message, Opcode, accept_key, close_frame, frame};

/// Largest message, in bytes: the suite sends 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = echo(stream) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let deflate = greet(&mut stream)?;
    let mut decoder = if deflate.is_some() { Decoder::with_deflate() } else { Decoder::new() };
    let (mut inflater, mut deflater) = (Inflater::new(), Deflater::default());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut read = &mut buffer[..length];
        while !read.is_empty() {
            let (consumed, answer, ends) = match decoder.decode(read, MESSAGE_BYTES_MAX, &mut inflater) {
                Ok(step) => {
                    let (answer, ends) = answer(step.message);
                    // What keeps to the client's window whatever is compressed.
                    let answer = match deflate.filter(|deflate| answer.len() <= deflate.window_bytes()) {
                        Some(_) => deflater.deflate(&answer, 1),
                        None => answer,
                    };
                    (step.consumed, answer, ends)
                }
                Err(fault) => (0, close_frame(Some(fault.close_code())), true),
            };
            stream.write_all(&answer)?;
            if ends {
                return Ok(());
            }
            read = &mut read[consumed..];
        }
    }
}

/// What a message is answered with, and whether that is the end.
fn answer(message: Option<Message<'_>>) -> (Vec<u8>, bool) {
    match message {
        Some(Message::Text(text)) => (frame(Opcode::Text, text.as_bytes()), false),
        Some(Message::Binary(bytes)) => (frame(Opcode::Binary, &bytes), false),
        Some(Message::Ping(bytes)) => (frame(Opcode::Pong, &bytes), false),
        Some(Message::Close(code)) => (close_frame(code), true),
        Some(Message::Pong) | None => (Vec::new(), false),
    }
}

/// Reads the upgrade request to its end and accepts it; the compression agreed on.
fn greet(stream: &mut TcpStream) -> io::Result<Option<Deflate>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |wanted: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).next()
    };
    let accept = accept_key(header("sec-websocket-key").ok_or(io::ErrorKind::InvalidData)?);
    let deflate = header("sec-websocket-extensions").and_then(Deflate::negotiate);
    let extensions = deflate
        .map(|deflate| format!("Sec-WebSocket-Extensions: {}\r\n", deflate.answer()))
        .unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    )?;
    Ok(deflate)
}
