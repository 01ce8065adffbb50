//! Merges the layers, decodes the result, and gathers every fault on the way.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use ::config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use broker::NamespaceConfig;
use serde_json::json;

use super::check::Settings;
use super::decode::{DecodeError, Decoder, Offence};
use super::explain::explain;
use super::fault::shown;
use super::{Arguments, Cli, ConfigFault, GatewayConfig, PublisherConfig};

/// What every variable of ours begins with.
const PREFIX: &str = "ROOMCAST__";

/// The configuration that flags, environment, file and defaults amount to, the earlier ones first.
///
/// # Errors
/// Every fault at once, in the order of the layers, then of the keys, then of the rules between keys.
pub(crate) fn load(cli: &Cli) -> Result<GatewayConfig, Vec<ConfigFault>> {
    load_with(cli, std::env::vars_os())
}

/// [`load`], for the process without clients.
///
/// # Errors
/// As there.
pub(crate) fn load_publisher(arguments: &Arguments) -> Result<PublisherConfig, Vec<ConfigFault>> {
    load_layers(None, arguments, std::env::vars_os())
}

/// [`load`], with the environment as an argument.
fn load_with(
    cli: &Cli,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<GatewayConfig, Vec<ConfigFault>> {
    load_layers(cli.dev.then(dev_layer), &cli.arguments, environment)
}

/// What `arguments` and `environment` make of `base`.
fn load_layers<T: Settings>(
    base: Option<Layer>,
    arguments: &Arguments,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<T, Vec<ConfigFault>> {
    let mut layers = Layers::default();
    if let Some(base) = base {
        layers.push(Ok(base));
    }
    if let Some(path) = &arguments.config {
        layers.push(file_layer(path));
    }
    let mut variables: Vec<_> = environment.into_iter().collect();
    variables.sort();
    for (name, value) in variables {
        if let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) {
            layers.push(variable_layer(name, value));
        }
    }
    for assignment in &arguments.set {
        layers.push(flag_layer(assignment));
    }

    let file =
        arguments.config.as_deref().map_or_else(|| "configuration".into(), |path| path.display().to_string());
    let (tree, mut faults) = layers.merge();
    let (config, skipped) = decode::<T>(&tree, &file, &mut faults);
    let Some(config) = config else { return Err(faults) };
    let effective = Config::try_from(&config).map(|config| config.cache).unwrap_or_default();
    for complaint in config.complaints(&skipped) {
        let found = find(&tree, &complaint.key).or_else(|| find(&effective, &complaint.key));
        faults.push(ConfigFault {
            origin: origin_of(&tree, &complaint.key, &file),
            value: found.map(|value| shown(&complaint.key, value)),
            key: complaint.key,
            problem: complaint.problem,
        });
    }
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// One source of values, stronger than those pushed before it.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

#[derive(Default)]
struct Layers {
    layers: Vec<Layer>,
    faults: Vec<ConfigFault>,
}

impl Layers {
    fn push(&mut self, layer: Result<Layer, ConfigFault>) {
        match layer {
            Ok(layer) => self.layers.push(layer),
            Err(fault) => self.faults.push(fault),
        }
    }

    fn merge(self) -> (Value, Vec<ConfigFault>) {
        let Self { layers, mut faults } = self;
        match Config::builder().add_source(layers).build() {
            Ok(config) => (config.cache, faults),
            Err(error) => {
                faults.push(ConfigFault::of_source("configuration", error.to_string()));
                (Map::<String, Value>::new().into(), faults)
            }
        }
    }
}

/// What `--dev` changes, below everything that is set explicitly.
fn dev_layer() -> Layer {
    let tree = json!({
        // Pages of any origin, as WebSockets of any origin are: who tries it serves the page from elsewhere.
        "client": { "listen": "127.0.0.1:3000", "demo_page": true, "cors": { "origins": ["*"] } },
        "engine": { "allow_eio3": true },
        "cluster": { "insecure": true, "listen": "127.0.0.1:0" },
        "namespaces": [NamespaceConfig::dev()],
    });
    match from_json("--dev", tree).kind {
        ValueKind::Table(table) => Layer(table),
        _ => Layer(Map::new()),
    }
}

/// A file's values carry no origin: that is how [`Decoder`] tells them from the text of variables and flags.
fn file_layer(path: &Path) -> Result<Layer, ConfigFault> {
    let fault = |problem: String| ConfigFault::of_source(path.display().to_string(), problem);
    let (name, format) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => ("TOML", FileFormat::Toml),
        Some("yaml" | "yml") => ("YAML", FileFormat::Yaml),
        _ => return Err(fault("unknown format; allowed: a name that ends in .toml, .yaml or .yml".into())),
    };
    let text = std::fs::read_to_string(path).map_err(|error| fault(format!("cannot be read: {error}")))?;
    let parsed = File::from_str(text.trim_start_matches('\u{feff}'), format).collect();
    parsed.map(Layer).map_err(|error| match error {
        ConfigError::FileParse { cause, .. } => {
            fault(format!("not {name}: {}", without_excerpt(&cause.to_string())))
        }
        other => fault(other.to_string()),
    })
}

/// A parser's message without the lines it quotes, `3 | password = …`, which may hold a secret.
fn without_excerpt(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told: Vec<_> = lines.into_iter().filter(|line| !line.contains('|')).collect();
    told.join(": ")
}

/// `ROOMCAST__CLIENT__LISTEN` as `client.listen`.
fn variable_layer(name: &str, value: OsString) -> Result<Layer, ConfigFault> {
    let path = name.strip_prefix(PREFIX).unwrap_or(name);
    let segments: Vec<_> = path.split("__").map(str::to_ascii_lowercase).collect();
    let value = value.into_string().map_err(|_| ConfigFault::of_source(name, "allowed: UTF-8 text"))?;
    let allowed = || {
        ConfigFault::of_source(name, "not a key; allowed: ROOMCAST__SECTION__KEY, see docs/configuration.md")
    };
    assignment(name, &segments, &value).ok_or_else(allowed)
}

/// `client.listen=127.0.0.1:3000` of `--set`.
fn flag_layer(text: &str) -> Result<Layer, ConfigFault> {
    let key = text.split('=').next().unwrap_or(text);
    let origin = format!("--set {key}");
    let allowed =
        || ConfigFault::of_source(origin.clone(), "not an assignment; allowed: --set section.key=value");
    let (key, value) = text.split_once('=').ok_or_else(allowed)?;
    let segments: Vec<_> = key.trim().split('.').map(String::from).collect();
    assignment(&origin, &segments, value).ok_or_else(allowed)
}

/// A tree with this one value; `None` when a segment could not be a key.
fn assignment(origin: &str, segments: &[String], text: &str) -> Option<Layer> {
    let is_key = |segment: &String| {
        !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if !segments.iter().all(is_key) {
        return None;
    }
    // Lists and tables may be written as JSON; `[::1]:3000` begins like one, but does not parse.
    let json = text.trim().starts_with(['[', '{']).then(|| serde_json::from_str(text).ok()).flatten();
    let name = origin.to_owned();
    let leaf = match json {
        Some(json) => from_json(origin, json),
        None => Value::new(Some(&name), text),
    };
    let (first, inner) = segments.split_first()?;
    let value = inner
        .iter()
        .rev()
        .fold(leaf, |value, segment| Value::new(Some(&name), Map::from_iter([(segment.clone(), value)])));
    Some(Layer(Map::from_iter([(first.clone(), value)])))
}

fn from_json(origin: &str, json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => ValueKind::Nil,
        serde_json::Value::Bool(value) => ValueKind::Boolean(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ValueKind::I64(value),
            (None, Some(value)) => ValueKind::U64(value),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => ValueKind::String(text),
        serde_json::Value::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| from_json(origin, item)).collect())
        }
        serde_json::Value::Object(entries) => ValueKind::Table(
            entries.into_iter().map(|(key, value)| (key, from_json(origin, value))).collect(),
        ),
    };
    Value::new(Some(&origin.to_owned()), kind)
}

/// Decodes `tree` again and again, each time without the values found faulty before, until it fits.
///
/// Returns the configuration with defaults in place of what was left out, and the keys left out.
fn decode<T: Settings>(
    tree: &Value,
    file: &str,
    faults: &mut Vec<ConfigFault>,
) -> (Option<T>, HashSet<String>) {
    let mut skipped = HashSet::new();
    loop {
        let error = match T::deserialize(Decoder::new(tree.clone(), &skipped)) {
            Ok(config) => return (Some(config), skipped),
            Err(error) => error,
        };
        let key = error.place.as_ref().map(|place| place.key.clone()).unwrap_or_default();
        if !is_consequence(&key, &error.offence, &skipped) {
            faults.push(fault_of(&error, &key, origin_of(tree, &key, file)));
        }
        // The root cannot be left out, and a key that fails twice would fail for ever.
        if key.is_empty() || !skipped.insert(key) {
            return (None, skipped);
        }
    }
}

/// Whether an error at `key` is due to what was left out below it.
fn is_consequence(key: &str, offence: &Offence, skipped: &HashSet<String>) -> bool {
    match offence {
        Offence::MissingKey(name) => skipped.contains(&format!("{key}.{name}")),
        _ => skipped.iter().any(|other| other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))),
    }
}

fn fault_of(error: &DecodeError, key: &str, origin: String) -> ConfigFault {
    let shows_value = !matches!(error.offence, Offence::UnknownKey { .. } | Offence::MissingKey(_));
    let value = error.place.as_ref().filter(|_| shows_value).map(|place| place.shown.clone());
    ConfigFault { origin, key: key.into(), value, problem: explain(key, &error.offence) }
}

/// The segments of `namespaces[0].name`: `namespaces`, `0`, `name`.
fn segments(key: &str) -> impl Iterator<Item = &str> {
    key.split(['.', '[']).map(|segment| segment.trim_end_matches(']'))
}

/// The value at `key`, or the text that it is a part of.
fn find<'t>(tree: &'t Value, key: &str) -> Option<&'t Value> {
    segments(key).try_fold(tree, |value, segment| match &value.kind {
        ValueKind::Table(table) => table.get(segment),
        ValueKind::Array(items) => items.get(segment.parse::<usize>().ok()?),
        _ => Some(value),
    })
}

/// Where the value at `key` comes from: a variable, a flag, `file`, or `default` when no layer sets it.
fn origin_of(tree: &Value, key: &str, file: &str) -> String {
    match find(tree, key) {
        None => "default".into(),
        Some(value) => stated_origin(value).unwrap_or(file).into(),
    }
}

/// The origin of a value; a table that merging made has none of its own, and takes that of something in it.
fn stated_origin(value: &Value) -> Option<&str> {
    value.origin().or_else(|| match &value.kind {
        ValueKind::Table(table) => table.values().find_map(stated_origin),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
