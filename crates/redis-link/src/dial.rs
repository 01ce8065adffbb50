//! From an address to a connection that is logged in, and from a topology to addresses.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use crate::resp::Value;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::target::{Endpoint, Target};
use crate::{LinkConfig, LinkFault, tls};

/// Slots from the first to the last, and the master that serves them.
pub(crate) type SlotRange = (u16, u16, Endpoint);

/// Opens connections as the configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) config: Arc<LinkConfig>,
    pub(crate) target: Arc<Target>,
}

/// Who logs in.
struct Account<'a> {
    name: &'a str,
    username: &'a str,
    password_key: &'static str,
    password_file: Option<&'a PathBuf>,
    database: u32,
}

/// What a server says about itself when one logs in.
struct Greeting {
    is_master: bool,
    role: String,
}

impl Dialer {
    /// A connection to the master, by the first address that has one.
    ///
    /// `name` is what `CLIENT LIST` shows.
    pub(crate) async fn primary(self, name: &'static str) -> Result<Socket, LinkFault> {
        match &*self.target {
            Target::Servers { endpoints, tls } => {
                let mut last = LinkFault::Away;
                for endpoint in endpoints {
                    match self.master(endpoint, *tls, name).await {
                        Ok(socket) => return Ok(socket),
                        Err(fault) => last = fault,
                    }
                }
                Err(last)
            }
            Target::Sentinel { sentinels, master, tls } => {
                let mut last = String::from("none was asked");
                let mut reached = None;
                for sentinel in sentinels {
                    let found = match self.sentinel(sentinel, *tls).await {
                        Ok(mut socket) => master_of(&mut socket, master).await,
                        Err(fault) => Err(fault),
                    };
                    match found {
                        Ok(endpoint) => match self.master(&endpoint, *tls, name).await {
                            Ok(socket) => return Ok(socket),
                            Err(fault) => reached = Some(fault),
                        },
                        Err(fault @ (LinkFault::Login { .. } | LinkFault::File { .. })) => {
                            reached = Some(fault)
                        }
                        Err(fault) => last = fault.to_string(),
                    }
                }
                Err(reached.unwrap_or(LinkFault::NoMaster { master: master.clone(), last }))
            }
            Target::Cluster { .. } => Err(LinkFault::Away),
        }
    }

    /// A connection to this member of the cluster.
    pub(crate) async fn member(self, endpoint: Endpoint, name: &'static str) -> Result<Socket, LinkFault> {
        let tls = matches!(&*self.target, Target::Cluster { tls: true, .. });
        Ok(self.login(&endpoint, tls, &self.account(name)).await?.0)
    }

    /// Which master serves which slots, as the first of `members` that answers knows it.
    pub(crate) async fn slots(self, members: Vec<Endpoint>) -> Result<Vec<SlotRange>, LinkFault> {
        let mut last = LinkFault::Away;
        for member in members {
            let known = match self.clone().member(member, "roomcast-topology").await {
                Ok(mut socket) => ask_slots(&mut socket, &self.config).await,
                Err(fault) => Err(fault),
            };
            match known {
                Ok(ranges) => return Ok(ranges),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// Ends when a sentinel names another master than `current`. Without sentinels it never ends.
    pub(crate) async fn superseded(self, current: Endpoint) {
        let Target::Sentinel { sentinels, master, tls } = &*self.target else {
            return std::future::pending().await;
        };
        loop {
            for sentinel in sentinels {
                let Ok(mut socket) = self.sentinel(sentinel, *tls).await else { continue };
                loop {
                    let answer = timeout(self.config.command_timeout(), master_of(&mut socket, master)).await;
                    match answer {
                        Ok(Ok(endpoint)) if endpoint != current => return,
                        Ok(Ok(_)) => sleep(self.config.heartbeat_interval()).await,
                        // This one is away, or knows nothing: another may.
                        Ok(Err(_)) | Err(_) => break,
                    }
                }
            }
            sleep(self.config.heartbeat_interval()).await;
        }
    }

    fn account<'a>(&'a self, name: &'a str) -> Account<'a> {
        Account {
            name,
            username: &self.config.username,
            password_key: "redis.password_file",
            password_file: self.config.password_file.as_ref(),
            database: self.config.database,
        }
    }

    async fn master(&self, endpoint: &Endpoint, tls: bool, name: &str) -> Result<Socket, LinkFault> {
        let (socket, greeting) = self.login(endpoint, tls, &self.account(name)).await?;
        if greeting.is_master {
            return Ok(socket);
        }
        Err(LinkFault::NotMaster { address: endpoint.to_string(), role: greeting.role })
    }

    async fn sentinel(&self, endpoint: &Endpoint, tls: bool) -> Result<Socket, LinkFault> {
        let account = Account {
            name: "roomcast-topology",
            username: &self.config.sentinel_username,
            password_key: "redis.sentinel_password_file",
            password_file: self.config.sentinel_password_file.as_ref(),
            database: 0,
        };
        let login = self.login(endpoint, tls, &account).await;
        login.map(|(socket, _)| socket).map_err(LinkFault::of_sentinel)
    }

    /// Connects and logs in, with one patience for both.
    async fn login(
        &self,
        endpoint: &Endpoint,
        tls: bool,
        account: &Account<'_>,
    ) -> Result<(Socket, Greeting), LinkFault> {
        let patience = self.config.connect_timeout();
        let attempt = async {
            let tls = if tls { Some(tls::connector(&self.config.tls)?) } else { None };
            let stream =
                Stream::connect(endpoint, tls).await.map_err(|cause| unreachable(endpoint, cause))?;
            let mut socket = Socket::new(stream, endpoint.clone());
            let greeting = hello(&mut socket, account).await?;
            Ok((socket, greeting))
        };
        let slow = || LinkFault::Slow { address: endpoint.to_string(), patience };
        timeout(patience, attempt).await.map_err(|_| slow())?
    }
}

fn unreachable(endpoint: &Endpoint, cause: io::Error) -> LinkFault {
    LinkFault::Unreachable { address: endpoint.to_string(), cause: Arc::new(cause) }
}

/// Switches to RESP3, logs in and selects the database.
async fn hello(socket: &mut Socket, account: &Account<'_>) -> Result<Greeting, LinkFault> {
    let password = match account.password_file {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| LinkFault::File {
            key: account.password_key,
            path: path.clone(),
            problem: error.to_string(),
        })?),
    };
    let mut parts: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &password {
        let user = if account.username.is_empty() { "default" } else { account.username };
        // Files written by hand or by an editor end with a line break, passwords do not.
        let secret = password.strip_suffix(b"\n").unwrap_or(password);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        parts.extend([b"AUTH".as_slice(), user.as_bytes(), secret]);
    }
    parts.extend([b"SETNAME".as_slice(), account.name.as_bytes()]);
    let answer = done(socket, &parts).await?;
    let fields = answer.as_list().ok_or_else(|| socket.strange("HELLO was not answered by a map"))?;
    let role = fields.chunks_exact(2).find_map(|pair| match pair {
        [Value::Text(name), Value::Text(role)] if &name[..] == b"role" => Some(role),
        _ => None,
    });
    let role = role.map(|role| String::from_utf8_lossy(role).into_owned()).unwrap_or_default();
    if account.database != 0 {
        done(socket, &[b"SELECT", account.database.to_string().as_bytes()]).await?;
    }
    // A sentinel has no role.
    Ok(Greeting { is_master: role == "master", role })
}

/// Asks; an error as answer is a fault.
async fn done(socket: &mut Socket, parts: &[&[u8]]) -> Result<Value, LinkFault> {
    match socket.ask(parts).await? {
        Value::Error(answer) if answer.starts_with("ERR unknown command") => {
            Err(socket.strange(format!("{answer}; Redis 6 or later is needed")))
        }
        Value::Error(answer) => Err(LinkFault::from_answer(&socket.endpoint.to_string(), &answer)),
        answer => Ok(answer),
    }
}

async fn master_of(sentinel: &mut Socket, master: &str) -> Result<Endpoint, LinkFault> {
    let answer = done(sentinel, &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()]).await;
    let answer = answer.map_err(LinkFault::of_sentinel)?;
    let place = match answer.as_list() {
        Some([Value::Text(host), Value::Text(port)]) => {
            let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
            port.map(|port| Endpoint::Tcp { host: String::from_utf8_lossy(host).into_owned(), port })
        }
        _ => None,
    };
    place.ok_or_else(|| LinkFault::NoMaster {
        master: master.to_owned(),
        last: format!("the sentinel at {} knows none", sentinel.endpoint),
    })
}

/// Source: Redis, CLUSTER SLOTS; kept by all versions, while CLUSTER SHARDS begins with 7.0.
async fn ask_slots(socket: &mut Socket, config: &LinkConfig) -> Result<Vec<SlotRange>, LinkFault> {
    let patience = config.command_timeout();
    let asked = timeout(patience, done(socket, &[b"CLUSTER", b"SLOTS"])).await;
    let answer = asked.map_err(|_| LinkFault::NoAnswer(patience))??;
    let ranges = answer.as_list().ok_or_else(|| socket.strange("CLUSTER SLOTS is no list"))?;
    let ranges: Option<Vec<_>> = ranges.iter().map(|range| slot_range(range, &socket.endpoint)).collect();
    match ranges {
        Some(ranges) if ranges.is_empty() => {
            Err(socket.strange("it serves no slots: is it part of a cluster?"))
        }
        Some(ranges) => Ok(ranges),
        None => Err(socket.strange("CLUSTER SLOTS has a form that is unknown")),
    }
}

fn slot_range(range: &Value, asked: &Endpoint) -> Option<SlotRange> {
    let [first, last, master, ..] = range.as_list()? else { return None };
    let [host, port, ..] = master.as_list()? else { return None };
    let host = match host {
        // Unknown to the one that was asked, or itself.
        Value::Null => String::new(),
        Value::Text(host) => String::from_utf8_lossy(host).into_owned(),
        _ => return None,
    };
    let slot = |value: &Value| value.as_count().and_then(|slot| u16::try_from(slot).ok());
    let port = u16::try_from(port.as_count()?).ok()?;
    Some((slot(first)?, slot(last)?, neighbour(&host, port, asked)))
}

/// An address as one member tells that of another: without a host it is its own.
pub(crate) fn neighbour(host: &str, port: u16, teller: &Endpoint) -> Endpoint {
    let host = match teller {
        Endpoint::Tcp { host: own, .. } if host.is_empty() || host == "?" => own,
        _ => host,
    };
    Endpoint::Tcp { host: host.to_owned(), port }
}
