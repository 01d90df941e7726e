//! Replaying a file in place of the kernel, through the same path.

pub mod flows;
pub mod pcap;
pub mod run;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a file that can be replayed holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Packets: pcap or pcapng.
    Packets,
    /// Flows of the API as JSON, one a line.
    Flows,
}

/// Why a file can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It can't be opened or read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is of none of the known formats.
    #[error("{path} is neither a pcap nor a pcapng file nor flows as JSON, one a line")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged: what came before is kept.
    #[error("{path} is damaged after {packets} packets: {reason}; what came before is kept")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Packets that were read.
        packets: u64,
        /// What is wrong.
        reason: String,
    },
    /// Its packets start with a link-layer header that isn't known.
    #[error(
        "{path} has packets of link type {link_type}; Ethernet, raw IP, Linux cooked and loopback captures can be replayed"
    )]
    UnknownLinkType {
        /// The file.
        path: PathBuf,
        /// The link type's number.
        link_type: i32,
    },
}

/// First bytes of pcap (both byte orders, micro- and nanoseconds) and pcapng files.
const PCAP_MAGICS: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// Looks at the file's first bytes.
///
/// # Errors
/// If it can't be read, or is of none of the known formats.
pub fn format_of(path: &Path) -> Result<Format, ReplayError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4096).read_to_end(&mut start))
        .map_err(|source| ReplayError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    if PCAP_MAGICS.iter().any(|magic| start.starts_with(magic)) {
        return Ok(Format::Packets);
    }
    match start.trim_ascii_start().first() {
        Some(b'{') => Ok(Format::Flows),
        _ => Err(ReplayError::UnknownFormat { path: path.to_owned() }),
    }
}
