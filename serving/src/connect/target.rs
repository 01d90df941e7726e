//! Where a server is: `host:port`, `tls://host:port` or `unix:///path`.

use std::fmt;
use std::path::PathBuf;

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether the connection is encrypted.
        tls: bool,
    },
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a server: {why}")]
pub struct TargetError {
    /// The text.
    pub text: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

impl Target {
    /// Parses an address; `tls` asks for TLS also without `tls://`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str, tls: bool) -> Result<Self, TargetError> {
        let wrong = |why: &str| TargetError {
            text: text.to_owned(),
            why: format!("{why}; give HOST:PORT, tls://HOST:PORT or unix:///PATH"),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(wrong("the path is missing"));
            }
            if tls {
                return Err(wrong("--tls doesn't go with a unix socket"));
            }
            return Ok(Self::Unix(path.into()));
        }
        let (address, tls) = match text.split_once("://") {
            Some(("tls", address)) => (address, true),
            Some((scheme, _)) => return Err(wrong(&format!("unknown scheme {scheme}"))),
            None => (text, tls),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port
            .parse()
            .map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// What HTTP/2 has for the server's name.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { tls, .. } => write!(f, "{}{}", if *tls { "tls://" } else { "" }, self.authority()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Target {
        Target::Tcp {
            host: host.to_owned(),
            port,
            tls,
        }
    }

    #[test]
    fn every_form_of_an_address_is_understood() {
        assert_eq!(
            Target::parse("localhost:4245", false).unwrap(),
            tcp("localhost", 4245, false)
        );
        assert_eq!(
            Target::parse("localhost:4245", true).unwrap(),
            tcp("localhost", 4245, true)
        );
        assert_eq!(
            Target::parse("tls://relay.test:443", false).unwrap(),
            tcp("relay.test", 443, true)
        );
        assert_eq!(Target::parse("[::1]:4244", false).unwrap(), tcp("::1", 4244, false));
        assert_eq!(
            Target::parse("unix:///run/x.sock", false).unwrap(),
            Target::Unix("/run/x.sock".into())
        );
        assert_eq!(
            Target::parse("unix://x.sock", false).unwrap(),
            Target::Unix("x.sock".into())
        );
    }

    #[test]
    fn a_wrong_address_is_told_what_is_right() {
        for (text, why) in [
            ("localhost", "port is missing"),
            ("localhost:x", "not a number"),
            ("http://localhost:1", "unknown scheme http"),
            ("unix://", "path is missing"),
        ] {
            let message = Target::parse(text, false).unwrap_err().to_string();
            assert!(
                message.contains(why) && message.contains("tls://HOST:PORT"),
                "{message}"
            );
        }
    }
}
