//! What servers answer to an event for servers.

use roomcast_proto::v1;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// What the servers of the cluster answered.
#[derive(Clone, Debug, Default)]
pub struct ServerAnswers {
    /// In order of arrival.
    pub answers: Vec<ServerAnswer>,
    /// The nodes this speaks for.
    pub coverage: v1::Coverage,
}

/// One server's answer.
#[derive(Clone, Debug)]
pub struct ServerAnswer {
    /// The node; empty for servers that do not say.
    pub node: String,
    /// The answer, as JSON text.
    pub value: String,
}

impl ServerAnswer {
    /// The answer as what serde reads from it.
    ///
    /// # Errors
    /// [`Error::Arguments`] if it is something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_str(&self.value)?)
    }
}

impl From<v1::ServerSideEmitResponse> for ServerAnswers {
    fn from(response: v1::ServerSideEmitResponse) -> Self {
        let answer = |v1::ServerAnswer { node, value }| ServerAnswer { node, value };
        Self {
            answers: response.answers.into_iter().map(answer).collect(),
            coverage: response.coverage.unwrap_or_default(),
        }
    }
}
