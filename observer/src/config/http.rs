//! Whether HTTP is read.

/// Whether heads of HTTP/1.x messages that travel in clear become flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpHeads {
    /// Read them
    #[default]
    On,
    /// Look at no TCP payload
    Off,
}

impl HttpHeads {
    /// Whether they are read.
    #[must_use]
    pub fn are_read(self) -> bool {
        self == Self::On
    }
}
