//! `roomcast-publisher`: the publish API in front of Redis, without clients of its own.

fn main() -> std::process::ExitCode {
    roomcast_gateway::publisher()
}
