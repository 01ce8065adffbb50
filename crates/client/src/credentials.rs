//! What says who calls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataValue};

use crate::error::Error;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Token = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send>>;

/// A key, or where tokens come from. Its `Debug` shows neither.
#[derive(Clone)]
pub(crate) enum Credentials {
    None,
    Key(MetadataValue<Ascii>),
    Provider(Arc<dyn Fn() -> Token + Send + Sync>),
}

impl Credentials {
    /// The same text for every call; `None` if it cannot stand in a header.
    pub(crate) fn key(key: &str) -> Option<Self> {
        bearer(key).map(Self::Key)
    }

    /// Asked before every call and every stream.
    pub(crate) fn provider<F, T, E>(provider: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Failure>,
    {
        Self::Provider(Arc::new(move || {
            let token = provider();
            Box::pin(async move { token.await.map_err(Into::into) })
        }))
    }

    /// The value of `authorization` for one call.
    pub(crate) async fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Key(value) => Ok(Some(value.clone())),
            Self::Provider(provider) => {
                let token = provider().await.map_err(|failure| Error::Credentials(failure.into()))?;
                let unfit = || {
                    let failure: Failure = "the token holds bytes that a header may not hold".into();
                    Error::Credentials(failure.into())
                };
                Ok(Some(bearer(&token).ok_or_else(unfit)?))
            }
        }
    }
}

fn bearer(token: &str) -> Option<MetadataValue<Ascii>> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).ok()?;
    // Kept out of the tables of HPACK and of `Debug`.
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Key(_) => "Key",
            Self::Provider(_) => "Provider",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_neither_shown_nor_taken_with_line_breaks() {
        let key = Credentials::key("rc_secret").unwrap();
        assert_eq!(format!("{key:?}"), "Key");
        assert!(matches!(&key, Credentials::Key(value) if !format!("{value:?}").contains("secret")));
        assert!(Credentials::key("two\nlines").is_none());
    }
}
