//! Packets as they come in from transports: Engine.IO first, then what is inside.

use std::time::Instant;

use engineio::{CloseReason, Data, Lane, PACKETS_PER_BODY_MAX, Packet, PacketKind, PeerFault, Reaction, v09};
use socketio::{Incoming, PacketKind as SocketPacketKind};

use super::{Shard, polling::Refusal};
use crate::{
    connection::OwnedPacket,
    dialect::{Message, Wire},
    io::{ConnectionKey, Happening, LinkId, Output},
};

/// Whether the transport may read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// Not before [`Output::Resume`]: what the packet caused is not in force yet. Packets handed over all
    /// the same are kept, up to the size of one message and the number of one polling body.
    Hold,
    /// No: the session, or this link of it, has ended.
    Closed,
}

impl Shard {
    /// Takes in a text message of a WebSocket.
    pub fn handle_text(&mut self, key: ConnectionKey, link: LinkId, text: &str, now: Instant) -> Flow {
        let Some((index, lane)) = self.lane(key, link) else { return Flow::Closed };
        let Wire::Engine(revision) = self.connections[index as usize].dialect.wire() else {
            // It has ended if a packet was refused, which the flow says as well.
            self.handle_packets(index, v09::decode_message(text), now).ok();
            return self.flow_of(index, lane);
        };
        if !self.is_in_pace(index, lane, now) {
            return Flow::Closed;
        }
        match Packet::decode_text(revision, text) {
            Ok(packet) => self.handle_packet(index, lane, packet, now),
            Err(fault) => self.handle_fault(index, lane, fault, now),
        }
    }

    /// Takes in a binary message of a WebSocket.
    pub fn handle_binary(&mut self, key: ConnectionKey, link: LinkId, bytes: &[u8], now: Instant) -> Flow {
        let Some((index, lane)) = self.lane(key, link) else { return Flow::Closed };
        if !self.is_in_pace(index, lane, now) {
            return Flow::Closed;
        }
        let decoded = match self.connections[index as usize].dialect.wire() {
            Wire::Engine(revision) => Packet::decode_binary(revision, bytes),
            Wire::V09 => Err(PeerFault::BinaryBody),
        };
        match decoded {
            Ok(Some(packet)) => self.handle_packet(index, lane, packet, now),
            Ok(None) => Flow::Continue,
            Err(fault) => self.handle_fault(index, lane, fault, now),
        }
    }

    /// Which transport of its connection a link is, if the connection still listens to it.
    pub(super) fn lane(&self, key: ConnectionKey, link: LinkId) -> Option<(u32, Lane)> {
        let index = self.index_of(key)?;
        let connection = &self.connections[index as usize];
        match connection {
            _ if connection.closing_by.is_some() => None,
            _ if connection.link == Some(link) => Some((index, Lane::Main)),
            _ if connection.probe == Some(link) => Some((index, Lane::Probe)),
            _ => None,
        }
    }

    /// Takes in one packet of a connection.
    pub(super) fn handle_packet(&mut self, index: u32, lane: Lane, packet: Packet<'_>, now: Instant) -> Flow {
        self.counters.packets_in += 1;
        let connection = &mut self.connections[index as usize];
        if connection.held.is_some() && lane == Lane::Main && packet.kind == PacketKind::Message {
            return self.hold(index, packet, now);
        }
        let is_probe = matches!(&packet.data, Data::Text(text) if text == "probe");
        match connection.session.handle_packet(lane, packet.kind, is_probe, &self.engine, now) {
            Ok(Reaction::Message) => return self.handle_message(index, &packet.data, now),
            Ok(reaction) => self.react(index, reaction, now),
            Err(fault) => return self.handle_fault(index, lane, fault, now),
        }
        self.flow_of(index, lane)
    }

    /// Takes in the packets of a polling body, or of a message of 0.9, in order, up to one that ends the session.
    ///
    /// # Errors
    /// [`Refusal::Offence`] for a binary body where there can be none, [`Refusal::TooFast`].
    pub(super) fn handle_packets<'a>(
        &mut self,
        index: u32,
        packets: impl Iterator<Item = Result<Packet<'a>, PeerFault>>,
        now: Instant,
    ) -> Result<(), Refusal> {
        for packet in packets {
            if !self.is_in_pace(index, Lane::Main, now) {
                return Err(Refusal::TooFast);
            }
            match packet {
                Ok(packet) => {
                    if self.handle_packet(index, Lane::Main, packet, now) == Flow::Closed {
                        break;
                    }
                }
                Err(fault) => {
                    let refused = fault == PeerFault::BinaryBody;
                    self.handle_fault(index, Lane::Main, fault, now);
                    return if refused { Err(Refusal::Offence) } else { Ok(()) };
                }
            }
        }
        Ok(())
    }

    fn react(&mut self, index: u32, reaction: Reaction, now: Instant) {
        match reaction {
            Reaction::None | Reaction::Message => {}
            Reaction::Pong => self.send(index, self.constants.pong.clone()),
            Reaction::ProbePong => self.answer_probe(index),
            Reaction::Upgraded => self.complete_upgrade(index),
            Reaction::Close(reason) => self.close(index, reason, now),
        }
        if let Some(connection) = self.connections.get(index as usize)
            && connection.closing_by.is_none()
        {
            self.arm(index);
        }
    }

    fn handle_message(&mut self, index: u32, data: &Data<'_>, now: Instant) -> Flow {
        let connection = &mut self.connections[index as usize];
        match connection.dialect.decode(&mut connection.assembler, data, &self.decode_limits) {
            Ok(Some(Message { packet, acknowledge })) => {
                if let Some(id) = acknowledge {
                    self.acknowledge_09(index, &packet.namespace, id);
                }
                self.handle_incoming(index, packet, now)
            }
            Ok(None) => Flow::Continue,
            Err(fault) => {
                self.offend(index, &fault.to_string(), now);
                Flow::Closed
            }
        }
    }

    fn handle_incoming(&mut self, index: u32, incoming: Incoming<'_>, now: Instant) -> Flow {
        match incoming.kind {
            SocketPacketKind::Connect => {
                self.connect(index, &incoming.namespace, incoming.data.as_deref(), now);
            }
            SocketPacketKind::Disconnect => self.disconnect(index, &incoming.namespace),
            SocketPacketKind::Event | SocketPacketKind::BinaryEvent => {
                self.handle_event(index, incoming, now);
            }
            SocketPacketKind::Ack | SocketPacketKind::BinaryAck => self.handle_ack(index, incoming),
            SocketPacketKind::ConnectError => self.offend(index, "CONNECT_ERROR from a client", now),
        }
        self.flow_of(index, Lane::Main)
    }

    /// Closes a session whose client broke the rules of Socket.IO.
    pub(super) fn offend(&mut self, index: u32, offence: &str, now: Instant) {
        self.happening(Happening::SocketPeerFault(offence.to_owned()));
        self.close(index, CloseReason::ForcedClose, now);
    }

    /// A fault on a probe ends the probe; elsewhere the session.
    pub(super) fn handle_fault(&mut self, index: u32, lane: Lane, fault: PeerFault, now: Instant) -> Flow {
        match lane {
            Lane::Probe => self.drop_probe(index),
            Lane::Main => self.close(index, fault.close_reason(), now),
        }
        self.happening(Happening::EnginePeerFault(fault));
        Flow::Closed
    }

    fn flow_of(&self, index: u32, lane: Lane) -> Flow {
        match self.connections.get(index as usize) {
            Some(connection) if connection.closing_by.is_some() || connection.session.is_closing() => {
                Flow::Closed
            }
            // What a probe sends has no effects to wait for, and nothing would resume it.
            Some(connection) if lane == Lane::Probe && connection.session.is_probing() => Flow::Continue,
            Some(connection) if connection.held.is_some() => Flow::Hold,
            Some(_) => Flow::Continue,
            None => Flow::Closed,
        }
    }

    /// Keeps a packet that came before its predecessor's effects are in force.
    fn hold(&mut self, index: u32, packet: Packet<'_>, now: Instant) -> Flow {
        let bytes_max = self.engine.max_payload_bytes as usize;
        let Some(held) = &mut self.connections[index as usize].held else { return Flow::Continue };
        let packet = OwnedPacket::new(packet);
        held.packet_bytes += packet.size();
        held.packets.push(packet);
        // Packets may be empty: their number has a limit too.
        if held.packet_bytes > bytes_max || held.packets.len() > PACKETS_PER_BODY_MAX {
            self.offend(index, "more than a message's size sent before CONNECT was answered", now);
            return Flow::Closed;
        }
        Flow::Hold
    }

    /// A subscription that `ticket` waited for is in force.
    pub fn handle_confirmed(&mut self, ticket: adapter::Ticket, now: Instant) {
        let key = ConnectionKey { index: ticket.0 as u32, generation: (ticket.0 >> 32) as u32 };
        let Some(index) = self.index_of(key) else { return };
        let Some(held) = &mut self.connections[index as usize].held else { return };
        held.awaited = held.awaited.saturating_sub(1);
        if held.awaited == 0 {
            self.release(index, now);
        }
    }

    fn release(&mut self, index: u32, now: Instant) {
        let Some(held) = self.connections[index as usize].held.take() else { return };
        if let Some(answer) = held.answer {
            self.send(index, answer);
        }
        let mut packets = held.packets.into_iter();
        while let Some(packet) = packets.next() {
            match self.handle_packet(index, Lane::Main, packet.as_packet(), now) {
                Flow::Continue => {}
                Flow::Closed => return,
                Flow::Hold => {
                    if let Some(held) = &mut self.connections[index as usize].held {
                        held.packets.extend(packets);
                        held.packet_bytes = held.packets.iter().map(OwnedPacket::size).sum();
                    }
                    return;
                }
            }
        }
        if let Some(link) = self.connections[index as usize].link {
            self.outputs.push_back(Output::Resume(link));
        }
    }
}
