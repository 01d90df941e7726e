//! Settings that come from flags, the environment or the configuration file, in this order; one struct for all three.

use serde::{Deserialize, Serialize};

/// Where a client looks for an observer on this machine.
pub(crate) const OBSERVER_SOCKET: &str = "/run/parallax/observer.sock";

/// Settings of the connection, and the filters that always apply.
///
/// A flag wins over the environment (`PARALLAX_` and the flag's name in capitals), that over the configuration file,
/// that over the default. `None` and an empty list mean "not given".
#[derive(clap::Args, Clone, Debug, Default, Deserialize, Serialize)]
#[command(next_help_heading = "Server")]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Server to ask: HOST:PORT, tls://HOST:PORT or unix:///PATH [default: the observer's socket on this machine if
    /// there is one, else localhost:4245]
    #[arg(long, global = true, value_name = "ADDRESS", env = "PARALLAX_SERVER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,

    /// Time to wait for a connection [default: 5s]
    #[arg(long, global = true, value_name = "DURATION", env = "PARALLAX_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,

    /// Time to wait for an answer; streams of flows have no such limit [default: 12s]
    #[arg(long, global = true, value_name = "DURATION", env = "PARALLAX_REQUEST_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_timeout: Option<String>,

    /// Connect with TLS
    #[arg(long, global = true, env = "PARALLAX_TLS", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<bool>,

    /// Accept any certificate of the server: encrypted, but anybody may be at the other end
    #[arg(long, global = true, env = "PARALLAX_TLS_ALLOW_INSECURE", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_allow_insecure: Option<bool>,

    /// Name to expect in the server's certificate
    #[arg(long, global = true, value_name = "NAME", env = "PARALLAX_TLS_SERVER_NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<String>,

    /// Files (PEM) of the certificate authorities to trust [default: the system's]
    #[arg(
        long,
        global = true,
        value_name = "FILE,…",
        value_delimiter = ',',
        env = "PARALLAX_TLS_CA_CERT_FILES"
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tls_ca_cert_files: Vec<String>,

    /// File (PEM) of the certificate to show to the server; needs --tls-client-key-file
    #[arg(long, global = true, value_name = "FILE", env = "PARALLAX_TLS_CLIENT_CERT_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_cert_file: Option<String>,

    /// File (PEM) of the key of that certificate
    #[arg(long, global = true, value_name = "FILE", env = "PARALLAX_TLS_CLIENT_KEY_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_key_file: Option<String>,

    /// User for basic authentication; needs TLS and --basic-auth-password
    #[arg(long, global = true, value_name = "NAME", env = "PARALLAX_BASIC_AUTH_USERNAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basic_auth_username: Option<String>,

    /// Password for basic authentication; the environment hides it from `ps`
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "PARALLAX_BASIC_AUTH_PASSWORD",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basic_auth_password: Option<String>,

    /// Raw filters from the file (as flags: --allowlist of `observe`).
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowlist: Vec<String>,

    /// Raw filters from the file (as flags: --denylist of `observe`).
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) denylist: Vec<String>,
}

impl Settings {
    /// What is used where nothing is given.
    pub(crate) fn defaults() -> Self {
        let local = std::path::Path::new(OBSERVER_SOCKET);
        Self {
            server: Some(if local.exists() {
                format!("unix://{OBSERVER_SOCKET}")
            } else {
                "localhost:4245".to_owned()
            }),
            timeout: Some("5s".to_owned()),
            request_timeout: Some("12s".to_owned()),
            tls: Some(false),
            tls_allow_insecure: Some(false),
            ..Self::default()
        }
    }

    /// These settings, with `other`'s where these have none.
    pub(crate) fn or(self, other: Self) -> Self {
        // An empty variable of the environment is the usual way to say "not set".
        let text = |mine: Option<String>, other: Option<String>| mine.filter(|text| !text.is_empty()).or(other);
        let list = |mine: Vec<String>, other: Vec<String>| if mine.is_empty() { other } else { mine };
        Self {
            server: text(self.server, other.server),
            timeout: text(self.timeout, other.timeout),
            request_timeout: text(self.request_timeout, other.request_timeout),
            tls: self.tls.or(other.tls),
            tls_allow_insecure: self.tls_allow_insecure.or(other.tls_allow_insecure),
            tls_server_name: text(self.tls_server_name, other.tls_server_name),
            tls_ca_cert_files: list(self.tls_ca_cert_files, other.tls_ca_cert_files),
            tls_client_cert_file: text(self.tls_client_cert_file, other.tls_client_cert_file),
            tls_client_key_file: text(self.tls_client_key_file, other.tls_client_key_file),
            basic_auth_username: text(self.basic_auth_username, other.basic_auth_username),
            basic_auth_password: text(self.basic_auth_password, other.basic_auth_password),
            allowlist: list(self.allowlist, other.allowlist),
            denylist: list(self.denylist, other.denylist),
        }
    }
}
