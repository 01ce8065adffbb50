//! `roomcast-gateway`: holds Socket.IO clients and delivers what back ends publish.

fn main() -> std::process::ExitCode {
    roomcast_gateway::gateway()
}
