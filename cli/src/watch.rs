//! `parallax watch peers`: changes among the observers, as the relay sees them.

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;
use flow::api::peer::peer_client::PeerClient;
use flow::api::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest};

use crate::connect::{Server, refused};
use crate::settings::Settings;

/// `parallax watch …`.
#[derive(Subcommand)]
pub(crate) enum WatchCommand {
    /// Print each observer that comes, goes or changes
    #[command(
        alias = "peer",
        after_help = "Examples:\n  parallax watch peers --server unix:///run/parallax/observer.sock"
    )]
    Peers,
}

impl WatchCommand {
    /// Prints changes until the server ends or Ctrl-C.
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        let Self::Peers = self;
        let server = Server::connect(&settings).await?;
        let refuse = |status| refused(&server.target, &status);
        let mut changes = PeerClient::new(server.calls.clone())
            .notify(NotifyRequest {})
            .await
            .map_err(refuse)?
            .into_inner();
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                change = changes.message() => match change.map_err(refuse)? {
                    Some(change) => writeln!(std::io::stdout(), "{}", line(&change))?,
                    None => anyhow::bail!("{} ended the stream of changes", server.target),
                },
            }
        }
    }
}

fn line(change: &ChangeNotification) -> String {
    let kind = ChangeNotificationType::try_from(change.r#type).map_or("UNKNOWN", |kind| kind.as_str_name());
    let tls = change
        .tls
        .as_ref()
        .map(|tls| format!(" (TLS.ServerName: {})", tls.server_name))
        .unwrap_or_default();
    format!("{kind:<12} {} {}{tls}", change.address, change.name)
}
