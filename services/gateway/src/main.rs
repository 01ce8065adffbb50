//! `roomcast-gateway`: holds Socket.IO clients and delivers what back ends publish.

mod admin;
mod app;
mod bundle;
mod calls;
mod cluster;
mod config;
mod context;
mod driver;
mod handshake;
mod http;
mod inbox;
mod keys;
mod occupancy;
mod peers;
mod ports;
mod shutdown;
mod socket;
mod stream;
mod tasks;
mod tls;
mod upgrade;

use std::process::ExitCode;

use config::{Action, Cli};

/// Exit code for a faulty configuration; other failures exit with 1.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let action = cli.action();
    // They need no configuration.
    match &action {
        Action::GenerateKey { name } => return exit(keys::generate(name)),
        Action::HashKey => return exit(keys::hash()),
        _ => {}
    }
    let config = match config::load(&cli) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    exit(match action {
        Action::CheckConfig => {
            println!("the configuration is free of faults");
            Ok(())
        }
        Action::PrintConfig => config.to_toml().map(|toml| print!("{toml}")).map_err(anyhow::Error::from),
        _ => app::run(config),
    })
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomcast-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
