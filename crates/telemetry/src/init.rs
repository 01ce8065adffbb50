//! Where log lines and metrics go: set up once, at the start of a process.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::names;

/// What an operator may set of log lines, which go to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line is written. Default `text`. Environment: `ROOMCAST__LOG__FORMAT`.
    pub format: LogFormat,
    /// Levels that are written: `info`, or per target such as `warn,roomcast=debug`. Default `info`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logs and metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The filter is none.
    #[error("log.filter {filter:?}: {problem}")]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This process has a logger already.
    #[error("the logger is set up twice")]
    LoggerTwice,
    /// The metrics recorder was refused, as a second one is.
    #[error("the metrics recorder cannot be set up: {0}")]
    Recorder(#[from] BuildError),
}

/// Whether `filter` can be used as [`LogConfig::filter`].
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| error.to_string())
}

/// Sends log lines to standard error and installs the metrics recorder; call once, before any handle is resolved.
///
/// The returned handle renders `/metrics`. Somebody must call [`PrometheusHandle::run_upkeep`] every few seconds,
/// scraped or not: histograms keep every sample until then.
///
/// # Errors
/// [`InitError::Filter`] on a filter that [`check_filter`] refuses; the others on a second call.
pub fn init(config: &LogConfig) -> Result<PrometheusHandle, InitError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| InitError::Filter { filter: config.filter.clone(), problem: error.to_string() })?;
    // Colours are for people, not for files.
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_target(false)
        // A line that cannot be written (a full disk, a reader that went) is lost. The library would tell standard
        // error so, which is where it failed, and end the thread.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let installed = match config.format {
        LogFormat::Text => logger.try_init(),
        LogFormat::Json => logger.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| InitError::LoggerTwice)?;

    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(BuildError::from)?;
    names::ALL.iter().for_each(names::Metric::describe);
    Ok(handle)
}

/// A recorder with our buckets that is not installed, for tests and tools that render metrics of their own.
///
/// # Errors
/// None in practice: the buckets are constant and not empty.
pub fn recorder() -> Result<PrometheusRecorder, InitError> {
    let builder = PrometheusBuilder::new().set_buckets(&names::BUCKETS_S)?;
    Ok(builder.build_recorder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked_before_they_are_used() {
        for good in ["info", "warn,roomcast=debug", "off", ""] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        assert!(check_filter("roomcast=loud").is_err());
    }

    #[test]
    fn a_bad_filter_is_reported_with_its_text() {
        let error = init(&LogConfig { filter: "a=b=c".into(), ..LogConfig::default() }).err();
        assert!(error.is_some_and(|error| error.to_string().starts_with("log.filter \"a=b=c\": ")));
    }
}
