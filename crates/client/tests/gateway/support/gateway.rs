// The real gateway as a process of its own. Included by the examples of the documentation too, and therefore without
// inner documentation and with full paths.

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A gateway on free ports of loopback; killed when it is dropped.
pub(crate) struct Gateway {
    child: std::process::Child,
    /// The port of the clients.
    pub(crate) client: std::net::SocketAddr,
    /// The publish API.
    pub(crate) grpc: std::net::SocketAddr,
}

impl Gateway {
    /// A gateway with `--dev`, one shard and these keys, each `key=value`.
    pub(crate) fn start(keys: &[&str]) -> Self {
        let defaults = [
            "client.listen=127.0.0.1:0",
            "grpc.listen=127.0.0.1:0",
            "ops.listen=127.0.0.1:0",
            "client.shards=1",
            "log.format=json",
        ];
        let mut command = std::process::Command::new(binary());
        command.env_clear().arg("--dev").stdin(std::process::Stdio::null());
        for key in defaults.iter().chain(keys) {
            command.args(["--set", key]);
        }
        let command = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
        let (mut client, mut grpc) = (None, None);
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let bytes = std::io::BufRead::read_line(&mut log, &mut line).unwrap();
            assert!(bytes > 0, "the gateway ended before it was ready:\n{all}");
            all.push_str(&line);
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let address = || line["address"].as_str().unwrap().parse().unwrap();
            match (line["kind"].as_str(), line["port"].as_str()) {
                (Some("listening"), Some("client")) => client = Some(address()),
                (Some("listening"), Some("grpc")) => grpc = Some(address()),
                (Some("readiness_changed"), _) if line["ready"] == true => break,
                _ => {}
            }
        }
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, client: client.unwrap(), grpc: grpc.unwrap() }
    }

    /// Where its publish API is.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The binary that `ROOMCAST_GATEWAY` names; else it is built from the sources beside these, once.
pub(crate) fn binary() -> std::path::PathBuf {
    static BINARY: std::sync::OnceLock<Result<std::path::PathBuf, String>> = std::sync::OnceLock::new();
    let named = || std::env::var_os("ROOMCAST_GATEWAY").map(|path| Ok(path.into()));
    let binary = BINARY.get_or_init(|| named().unwrap_or_else(build)).clone();
    binary.unwrap_or_else(|errors| {
        panic!("ROOMCAST_GATEWAY is not set and no gateway could be built:\n{errors}")
    })
}

/// Builds the gateway; what cargo says if it cannot.
fn build() -> Result<std::path::PathBuf, String> {
    let mut command = std::process::Command::new(option_env!("CARGO").unwrap_or("cargo"));
    // What cargo says to tests; build scripts that look at it would run again, and all that needs them.
    let of_test = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(of_test) {
        command.env_remove(name);
    }
    command.args(["build", "--quiet", "--package", "roomcast-gateway", "--message-format=json"]);
    let built = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).output().unwrap();
    let messages = String::from_utf8(built.stdout).unwrap();
    let mut messages = messages.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let executable = messages.find_map(|message| match message["target"]["name"] == "roomcast-gateway" {
        true => message["executable"].as_str().map(Into::into),
        false => None,
    });
    executable.ok_or_else(|| String::from_utf8_lossy(&built.stderr).into_owned())
}
