//! A source of peers as users write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serving::connect::Target;

use super::PeerAddress;

/// Where peers are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSource {
    /// A fixed address: `HOST:PORT`, `tls://HOST:PORT`, `unix:///path`.
    Address(PeerAddress),
    /// `file:PATH`, which may change.
    File(PathBuf),
    /// `dns:HOST:PORT` or `srv:NAME`.
    Dns(DnsName),
    /// `notify:ADDRESS`: a server that tells of peers (`peer.Peer/Notify`).
    Notify(PeerAddress),
}

/// A name that DNS knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    /// The name to ask for.
    pub name: String,
    /// The port of every address; `None`: the name is one of SRV records (RFC 2782), which have the port.
    pub port: Option<u16>,
    /// Whether connections are encrypted.
    pub tls: bool,
}

const FORMS: &str =
    "give HOST:PORT, tls://HOST:PORT, unix:///PATH, dns:HOST:PORT, srv:NAME, file:PATH or notify:ADDRESS";

impl FromStr for PeerSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let missing = |what: &str| format!("`{text}`: {what} is missing; {FORMS}");
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(missing("the path"));
            }
            return Ok(Self::File(path.into()));
        }
        if let Some(address) = text.strip_prefix("notify:") {
            return Ok(Self::Notify(fixed(address)?));
        }
        for (prefix, tls) in [("dns+tls:", true), ("dns:", false)] {
            if let Some(name) = text.strip_prefix(prefix) {
                let name = name.trim_start_matches('/');
                let (host, port) = name.rsplit_once(':').ok_or_else(|| missing("the port"))?;
                if host.is_empty() {
                    return Err(missing("the name"));
                }
                let port = port
                    .parse()
                    .map_err(|_| format!("`{text}`: the port is no number up to 65535"))?;
                return Ok(Self::Dns(DnsName {
                    name: host.to_owned(),
                    port: Some(port),
                    tls,
                }));
            }
        }
        for (prefix, tls) in [("srv+tls:", true), ("srv:", false)] {
            if let Some(name) = text.strip_prefix(prefix) {
                let name = name.trim_start_matches('/');
                if name.is_empty() {
                    return Err(missing("the name"));
                }
                return Ok(Self::Dns(DnsName {
                    name: name.to_owned(),
                    port: None,
                    tls,
                }));
            }
        }
        Ok(Self::Address(fixed(text)?))
    }
}

/// An address that is there for good.
pub(super) fn fixed(text: &str) -> Result<PeerAddress, String> {
    let target = Target::parse(text, false).map_err(|error| format!("`{text}`: {}", first_part(&error.why)))?;
    Ok(PeerAddress {
        address: target.to_string(),
        ..PeerAddress::default()
    })
}

/// What is wrong, with our own list of what would be right.
fn first_part(why: &str) -> String {
    let wrong = why.split(';').next().unwrap_or(why);
    format!("{wrong}; {FORMS}")
}

impl fmt::Display for DnsName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(formatter, "{}:{port}", self.name),
            None => write!(formatter, "{} (SRV)", self.name),
        }
    }
}
