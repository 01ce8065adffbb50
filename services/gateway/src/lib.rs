//! Both services: `roomcast-gateway` holds Socket.IO clients and delivers what back ends publish, `roomcast-publisher`
//! is its publish API alone. They share configuration, operations port, and their way into the cluster.

mod admin;
mod app;
mod bundle;
mod calls;
mod cluster;
mod config;
mod context;
mod driver;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod http;
mod inbox;
mod keys;
mod memory;
mod occupancy;
mod peers;
mod places;
mod ports;
mod publisher;
mod shutdown;
mod socket;
mod stream;
mod tasks;
mod tls;
mod upgrade;

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use config::{Action, Arguments, Cli, ConfigFault, GatewayConfig, PublisherCli, PublisherConfig};

/// Exit code for a faulty configuration; other failures exit with 1.
const EXIT_CONFIG: u8 = 2;

/// The life of `roomcast-gateway`, from its command line on.
pub fn gateway() -> ExitCode {
    let cli = Cli::parse();
    live(Service {
        name: "roomcast-gateway",
        arguments: &cli.arguments,
        load: || config::load(&cli),
        print: GatewayConfig::to_toml,
        run: app::run,
    })
}

/// The life of `roomcast-publisher`, from its command line on.
pub fn publisher() -> ExitCode {
    let cli = PublisherCli::parse();
    live(Service {
        name: "roomcast-publisher",
        arguments: &cli.arguments,
        load: || config::load_publisher(&cli.arguments),
        print: PublisherConfig::to_toml,
        run: publisher::run,
    })
}

/// What the two differ in.
struct Service<'a, C, L> {
    name: &'static str,
    arguments: &'a Arguments,
    load: L,
    print: fn(&C) -> Result<String, toml::ser::Error>,
    run: fn(C) -> anyhow::Result<()>,
}

fn live<C, L: FnOnce() -> Result<C, Vec<ConfigFault>>>(service: Service<'_, C, L>) -> ExitCode {
    let exit = |result| exit(service.name, result);
    let action = service.arguments.action();
    // They need no configuration.
    match &action {
        Action::GenerateKey { name } => return exit(keys::generate(name)),
        Action::HashKey => return exit(keys::hash()),
        _ => {}
    }
    let config = match (service.load)() {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(complain);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    exit(match action {
        Action::CheckConfig => say("the configuration is free of faults\n"),
        Action::PrintConfig => {
            (service.print)(&config).map_err(anyhow::Error::from).and_then(|toml| say(&toml))
        }
        _ => (service.run)(config),
    })
}

fn exit(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(text.as_bytes()).context("standard output")
}

/// Standard error may be closed or full, and then there is nowhere to say it. `eprintln!` would panic.
fn complain(text: impl Display) {
    writeln!(io::stderr(), "{text}").ok();
}
