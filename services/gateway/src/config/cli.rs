//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Holds Socket.IO clients and delivers what back ends publish.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "roomcast-gateway", version)]
pub(crate) struct Cli {
    /// For trying and for tests: every namespace open, Engine.IO 3 on, demo page at /, loopback only.
    #[arg(long, global = true)]
    pub(crate) dev: bool,
    /// What every service of ours is told.
    #[command(flatten)]
    pub(crate) arguments: Arguments,
}

/// Serves the publish API in front of Redis, without clients of its own.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "roomcast-publisher", version)]
pub(crate) struct PublisherCli {
    /// What every service of ours is told.
    #[command(flatten)]
    pub(crate) arguments: Arguments,
}

/// Where the configuration is, and what to do with it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Configuration file, TOML or YAML by its extension.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, such as ops.listen=127.0.0.1:9000; stronger than environment and file.
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub(crate) set: Vec<String>,
    /// Print the effective configuration as TOML and exit.
    #[arg(long, conflicts_with = "check_config")]
    pub(crate) print_config: bool,
    /// Report every fault of the configuration and exit.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Report every fault of the configuration and exit: 0 without any, 2 otherwise.
    CheckConfig,
    /// Print the effective configuration as TOML and exit.
    PrintConfig,
    /// Make a key for the publish API: it goes to standard error, its entry for grpc.auth.keys_file to standard output.
    GenerateKey {
        /// Whose it is, as rights and logs will name it.
        name: String,
    },
    /// Read a key or password from standard input and print its line for an entry of grpc.auth.keys_file.
    HashKey,
}

/// What the command line asks for, however it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Serve.
    Run,
    /// Report faults and exit.
    CheckConfig,
    /// Print the effective configuration and exit.
    PrintConfig,
    /// Make a key and exit.
    GenerateKey {
        /// Whose it is.
        name: String,
    },
    /// Hash a key and exit.
    HashKey,
}

impl Cli {
    /// Parses the arguments of this process; prints help or usage and exits when they ask for it or are wrong.
    pub(crate) fn parse() -> Self {
        Parser::parse()
    }
}

impl PublisherCli {
    /// As [`Cli::parse`].
    pub(crate) fn parse() -> Self {
        Parser::parse()
    }
}

impl Arguments {
    /// What the command line asks for; a subcommand goes before the flag of another.
    pub(crate) fn action(&self) -> Action {
        match &self.command {
            Some(Command::GenerateKey { name }) => Action::GenerateKey { name: name.clone() },
            Some(Command::HashKey) => Action::HashKey,
            Some(Command::CheckConfig) => Action::CheckConfig,
            Some(Command::PrintConfig) => Action::PrintConfig,
            None if self.check_config => Action::CheckConfig,
            None if self.print_config => Action::PrintConfig,
            None => Action::Run,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
        PublisherCli::command().debug_assert();
    }

    #[test]
    fn actions_may_be_written_as_flag_or_subcommand() {
        let cases: [(&[&str], Action); 7] = [
            (&["--dev"], Action::Run),
            (&["--print-config"], Action::PrintConfig),
            (&["--check-config", "--dev"], Action::CheckConfig),
            (&["check-config", "--config", "a.toml"], Action::CheckConfig),
            (&["--set", "ops.enabled=false", "print-config"], Action::PrintConfig),
            (&["generate-key", "orders"], Action::GenerateKey { name: "orders".into() }),
            (&["hash-key"], Action::HashKey),
        ];
        for (args, expected) in cases {
            let cli = Cli::try_parse_from([&["roomcast-gateway"], args].concat()).unwrap();
            assert_eq!(cli.arguments.action(), expected, "{args:?}");
        }
    }

    #[test]
    fn a_publisher_is_told_the_same_but_knows_no_dev() {
        let parse = |args: &[&str]| PublisherCli::try_parse_from([&["roomcast-publisher"], args].concat());
        assert_eq!(parse(&["check-config"]).unwrap().arguments.action(), Action::CheckConfig);
        assert!(parse(&["--dev"]).is_err());
    }
}
