//! Who a client is by its address, and how many and how fast it may come. No IO: time and bytes are arguments.
//!
//! A connection has the address that the system knows. If that is one of the configured proxies, the client's is found
//! by what the proxy says: a [`ProxyHeader`] in front of the connection, or `X-Forwarded-For` in each request
//! ([`client_address`]). What is found is what [`Quotas`] counts by.

mod forwarded;
mod prefix;
mod proxy_header;
mod quotas;
mod rate;

pub use self::{
    forwarded::client_address,
    prefix::{Prefix, PrefixError, contains},
    proxy_header::{HEADER_BYTES_MAX, HeaderFault, ProxyHeader, ProxyProtocol, looks_like_header},
    quotas::{ADDRESSES_MAX, Kind, Place, QuotaConfig, Quotas, Refused},
    rate::{Bucket, Rate},
};
