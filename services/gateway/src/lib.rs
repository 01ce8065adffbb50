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
mod handshake;
mod http;
mod inbox;
mod keys;
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

use std::process::ExitCode;

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
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    exit(match action {
        Action::CheckConfig => {
            println!("the configuration is free of faults");
            Ok(())
        }
        Action::PrintConfig => {
            (service.print)(&config).map(|toml| print!("{toml}")).map_err(anyhow::Error::from)
        }
        _ => (service.run)(config),
    })
}

fn exit(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
