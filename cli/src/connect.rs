//! The connection to a server: over TCP, TLS or a unix socket.

use std::time::Duration;

use anyhow::Result;
use serving::connect::{Target, Tls, TlsError, TlsOptions, channel, reason, told};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::observe::time::parse_duration;
use crate::settings::Settings;
use crate::usage::UsageError;

/// A channel that adds what the settings ask for to each call.
pub(crate) type Calls = InterceptedService<Channel, BasicAuth>;

/// A server that answered.
#[derive(Clone)]
pub(crate) struct Server {
    /// Where it is.
    pub(crate) target: Target,
    /// How to call it.
    pub(crate) calls: Calls,
    /// How long to wait for an answer to a unary call.
    pub(crate) request_timeout: Duration,
}

impl Server {
    /// Connects. The error says what was tried and how to start a server.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self> {
        let settings = settings.clone().or(Settings::defaults());
        let address = settings.server.clone().unwrap_or_default();
        let target = Target::parse(&address, settings.tls == Some(true))
            .map_err(|error| UsageError::value(&error.text, "--server", error.why))?;
        let timeout = duration("--timeout", settings.timeout.as_deref())?;
        let request_timeout = duration("--request-timeout", settings.request_timeout.as_deref())?;
        let auth = BasicAuth::new(&settings, &target)?;
        let tls = match &target {
            Target::Tcp { host, tls: true, .. } => Some(tls(&settings, host)?),
            Target::Tcp { .. } | Target::Unix(_) => None,
        };
        tracing::debug!(%target, ?timeout, "connecting");
        let channel = match tokio::time::timeout(timeout, channel(&target, tls, |endpoint| endpoint)).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(unreachable(&target, &reason(&error))),
            Err(_) => {
                let limit = humantime::format_duration(timeout);
                return Err(unreachable(&target, &format!("no answer within {limit}")));
            }
        };
        Ok(Self {
            target,
            calls: InterceptedService::new(channel, auth),
            request_timeout,
        })
    }

    /// Waits for the answer to a unary call, within the request timeout.
    pub(crate) async fn answer<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T> {
        let answer = tokio::time::timeout(self.request_timeout, call).await.map_err(|_| {
            let limit = humantime::format_duration(self.request_timeout);
            anyhow::anyhow!(
                "{} did not answer within {limit}; --request-timeout gives it longer",
                self.target
            )
        })?;
        Ok(answer.map_err(|status| refused(&self.target, &status))?.into_inner())
    }
}

fn duration(flag: &str, text: Option<&str>) -> Result<Duration, UsageError> {
    let text = text.unwrap_or_default();
    parse_duration(text)
        .and_then(|duration| duration.to_std().ok())
        .ok_or_else(|| UsageError::value(text, flag, "give a duration such as 500ms, 5s or 1m"))
}

/// How to encrypt, as the settings say it.
fn tls(settings: &Settings, host: &str) -> Result<Tls> {
    let client = match (&settings.tls_client_cert_file, &settings.tls_client_key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        _ => {
            return Err(UsageError(
                "--tls-client-cert-file and --tls-client-key-file go together; give both".to_owned(),
            )
            .into());
        }
    };
    let options = TlsOptions {
        allow_insecure: settings.tls_allow_insecure == Some(true),
        ca_files: settings.tls_ca_cert_files.clone(),
        client,
        server_name: settings.tls_server_name.clone(),
    };
    Tls::new(&options, host).map_err(|error| match error {
        TlsError::Name(name) => UsageError::value(&name, "--tls-server-name", "give a DNS name or an address").into(),
        error => error.into(),
    })
}

/// Adds `authorization: Basic …` to calls, if the settings have a user and a password.
#[derive(Clone)]
pub(crate) struct BasicAuth(Option<MetadataValue<Ascii>>);

impl BasicAuth {
    fn new(settings: &Settings, target: &Target) -> Result<Self, UsageError> {
        let (user, password) = match (&settings.basic_auth_username, &settings.basic_auth_password) {
            (None, None) => return Ok(Self(None)),
            (Some(user), Some(password)) => (user, password),
            _ => {
                return Err(UsageError(
                    "--basic-auth-username and --basic-auth-password go together; give both".to_owned(),
                ));
            }
        };
        if !target.tls() {
            return Err(UsageError(
                "basic authentication needs TLS, or anybody on the way could read the password; add --tls".to_owned(),
            ));
        }
        let token = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:{password}"));
        let value = MetadataValue::try_from(format!("Basic {token}")).map_err(|error| UsageError(error.to_string()))?;
        Ok(Self(Some(value)))
    }
}

impl Interceptor for BasicAuth {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn unreachable(target: &Target, why: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "no server at {target}: {why}; start one on this machine with `sudo parallax-observer`, or name one with --server"
    )
}

/// A call that the server answered with an error.
pub(crate) fn refused(target: &Target, status: &Status) -> anyhow::Error {
    use tonic::Code;
    let message = told(status);
    match status.code() {
        Code::InvalidArgument => UsageError(format!("{target} refused the request: {message}")).into(),
        Code::Unimplemented => anyhow::anyhow!(
            "{target} doesn't offer this: {}",
            if message.is_empty() {
                "not implemented"
            } else {
                &message
            }
        ),
        Code::Unknown => anyhow::anyhow!("{target}: {message}"),
        Code::Unavailable => anyhow::anyhow!("lost the connection to {target}: {message}"),
        code => anyhow::anyhow!(
            "{target}: {} ({code:?})",
            if message.is_empty() {
                code.description()
            } else {
                &message
            }
        ),
    }
}
