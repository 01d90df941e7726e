//! What the relay can be told: by flags, or by environment (`PARALLAX_RELAY_…`).

mod metrics;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;
use serving::connect::TlsOptions;
use serving::listen::{Listen, ListenError, Protection};
use serving::tls::TlsFiles;
use sql::limits::Limits;

pub use metrics::MetricsSettings;

use crate::VERSION;
use crate::peers::PeerSource;

const EXAMPLES: &str = "\
Examples:
  parallax-relay --peers 10.0.0.1:4244,10.0.0.2:4244
  parallax-relay --peers dns:observers.monitoring.svc.cluster.local:4244 --listen 0.0.0.0:4245
  parallax-relay --peers file:/etc/parallax/peers.yaml --peers notify:unix:///run/parallax/observer.sock
  parallax-relay --peers tls://relay.cluster-b:4245 --tls-ca-cert-files ca.crt

Then: parallax observe --server localhost:4245 --follow";

/// Merges the flows of all observers into one order of time, and serves them as each of them does.
#[derive(Debug, Parser)]
#[command(name = "parallax-relay", version = VERSION, after_help = EXAMPLES, max_term_width = 100)]
pub struct Config {
    /// Observers, and other relays: HOST:PORT, tls://HOST:PORT or unix:///path; or where to find them: dns:HOST:PORT (each
    /// of its addresses), srv:NAME, file:PATH (YAML, may change), notify:ADDRESS (a server that tells of peers)
    #[arg(long, value_name = "PEER,…", env = "PARALLAX_RELAY_PEERS", value_delimiter = ',')]
    pub peers: Vec<PeerSource>,

    /// Listen on this address: unix:///path, or address:port
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PARALLAX_RELAY_LISTEN",
        value_delimiter = ',',
        default_values = ["127.0.0.1:4245"]
    )]
    pub listen: Vec<Listen>,

    /// File (PEM) of the certificate for TCP addresses, with those between it and the authority; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "PARALLAX_RELAY_TLS_CERT_FILE",
        requires = "tls_key_file"
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// File (PEM) of its key
    #[arg(
        long,
        value_name = "FILE",
        env = "PARALLAX_RELAY_TLS_KEY_FILE",
        requires = "tls_cert_file"
    )]
    pub tls_key_file: Option<PathBuf>,

    /// Files (PEM) of authorities: clients must show a certificate that one of them has signed
    #[arg(
        long,
        value_name = "FILE,…",
        env = "PARALLAX_RELAY_TLS_CLIENT_CA_FILES",
        value_delimiter = ',',
        requires = "tls_cert_file"
    )]
    pub tls_client_ca_files: Vec<PathBuf>,

    /// Listen without TLS also on addresses that can be reached from elsewhere
    #[arg(
        long,
        env = "PARALLAX_RELAY_INSECURE",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "true|false"
    )]
    pub insecure: bool,

    /// How long a node that is behind may hold up the flows of the others
    #[arg(
        long,
        value_name = "DURATION",
        env = "PARALLAX_RELAY_SORT_WINDOW",
        default_value = "1s",
        value_parser = humantime::parse_duration
    )]
    pub sort_window: Duration,

    /// Memory for flows that wait for their turn, of each request
    #[arg(
        long,
        value_name = "SIZE",
        env = "PARALLAX_RELAY_SORT_MEMORY",
        default_value = "128MiB"
    )]
    pub sort_memory: ByteSize,

    /// Memory that all SQL queries together may take here, for what the answers of nodes come together in
    #[arg(
        long,
        value_name = "SIZE",
        env = "PARALLAX_RELAY_SQL_MEMORY",
        default_value = "512MiB"
    )]
    pub sql_memory: ByteSize,

    /// Rows that the answer to an SQL query may have
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PARALLAX_RELAY_SQL_ROWS",
        default_value_t = 10_000_000
    )]
    pub sql_rows: u64,

    /// Time that an SQL query may take
    #[arg(
        long,
        value_name = "DURATION",
        env = "PARALLAX_RELAY_SQL_TIME",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    pub sql_time: Duration,

    /// SQL queries that may run at once
    #[arg(long, value_name = "NUMBER", env = "PARALLAX_RELAY_SQL_QUERIES", default_value_t = 4,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub sql_queries: usize,

    /// DNS server to ask, address:port [default: those of the system]
    #[arg(long, value_name = "ADDRESS", env = "PARALLAX_RELAY_DNS_SERVER")]
    pub dns_server: Option<SocketAddr>,

    /// Accept any certificate of a peer: encrypted, but anybody may be at the other end
    #[arg(long, env = "PARALLAX_RELAY_TLS_ALLOW_INSECURE")]
    pub tls_allow_insecure: bool,

    /// Name to expect in the certificates of peers [default: the host of the address]
    #[arg(long, value_name = "NAME", env = "PARALLAX_RELAY_TLS_SERVER_NAME")]
    pub tls_server_name: Option<String>,

    /// Files (PEM) of the authorities to trust for tls:// peers [default: the system's]
    #[arg(
        long,
        value_name = "FILE,…",
        env = "PARALLAX_RELAY_TLS_CA_CERT_FILES",
        value_delimiter = ','
    )]
    pub tls_ca_cert_files: Vec<String>,

    /// File (PEM) of the certificate to show to peers
    #[arg(
        long,
        value_name = "FILE",
        env = "PARALLAX_RELAY_TLS_CLIENT_CERT_FILE",
        requires = "tls_client_key_file"
    )]
    pub tls_client_cert_file: Option<String>,

    /// File (PEM) of its key
    #[arg(
        long,
        value_name = "FILE",
        env = "PARALLAX_RELAY_TLS_CLIENT_KEY_FILE",
        requires = "tls_client_cert_file"
    )]
    pub tls_client_key_file: Option<String>,

    /// Who gets metrics.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// What to log on stderr: error, warn, info, debug, trace, or a filter such as relay=debug
    #[arg(long, value_name = "LEVEL", env = "PARALLAX_RELAY_LOG", default_value = "info")]
    pub log: String,

    /// Print the completions for a shell, and end
    #[arg(long, value_name = "SHELL")]
    pub completions: Option<clap_complete::Shell>,
}

impl Config {
    /// How TCP addresses are served.
    ///
    /// # Errors
    /// What is wrong with the certificates' files, or the first address that would be plain without being asked for.
    pub fn protection(&self) -> Result<Protection, ListenError> {
        let files = self.tls_cert_file.clone().zip(self.tls_key_file.clone());
        let files = files.map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_authorities: self.tls_client_ca_files.clone(),
        });
        Protection::new(files, self.insecure, &self.listen)
    }

    /// How much SQL queries may take.
    #[must_use]
    pub fn sql_limits(&self) -> Limits {
        Limits {
            memory_bytes: usize::try_from(self.sql_memory.as_u64()).unwrap_or(usize::MAX),
            rows: self.sql_rows,
            time: self.sql_time,
            queries: self.sql_queries,
            ..Limits::default()
        }
    }

    /// How to encrypt connections to peers that have tls:// before their address.
    #[must_use]
    pub fn tls(&self) -> TlsOptions {
        TlsOptions {
            allow_insecure: self.tls_allow_insecure,
            ca_files: self.tls_ca_cert_files.clone(),
            client: self.tls_client_cert_file.clone().zip(self.tls_client_key_file.clone()),
            server_name: self.tls_server_name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Config::command().debug_assert();
    }
}
