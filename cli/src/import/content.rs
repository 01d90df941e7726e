//! What a file holds, and how it is known again.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// A file's SHA-256.
pub(super) type Digest = [u8; 32];

/// What can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Csv,
    Parquet,
}

/// First bytes of captures: pcap in both byte orders, with micro- and nanoseconds, and pcapng.
const CAPTURES: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];
const PARQUET: &[u8] = b"PAR1";
/// gzip, zstd, xz, bzip2, zip.
const COMPRESSED: [&[u8]; 5] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh", b"PK\x03\x04"];
/// As far as is looked for the end of the first line.
const HEADER_BYTES: u64 = 1 << 16;

/// Looks at the first bytes.
pub(super) fn kind(path: &Path) -> Result<Kind> {
    let file = open(path)?;
    anyhow::ensure!(
        file.metadata()?.is_file(),
        "it is not a file; files are read twice, so pipes can't be imported"
    );
    let mut start = Vec::new();
    file.take(HEADER_BYTES)
        .read_to_end(&mut start)
        .context("it can't be read")?;
    anyhow::ensure!(!start.is_empty(), "it is empty");
    if start.starts_with(PARQUET) {
        return Ok(Kind::Parquet);
    }
    if CAPTURES.iter().any(|magic| start.starts_with(magic)) {
        anyhow::bail!(
            "it holds packets, not flows; `parallax-observer --replay FILE --history PLACE` makes flows of packets"
        );
    }
    if COMPRESSED.iter().any(|magic| start.starts_with(magic)) {
        anyhow::bail!("it is compressed; unpack it first");
    }
    let text = start.trim_ascii_start();
    if text.starts_with(b"{") {
        return Ok(Kind::Json);
    }
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut names = header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    match names.any(|name| name == b"time" || name == b"\"time\"") {
        true => Ok(Kind::Csv),
        false => {
            anyhow::bail!("it is neither Parquet, nor lines of JSON, nor CSV with a header that has a column `time`")
        }
    }
}

pub(super) fn digest(path: &Path) -> Result<Digest> {
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).context("it can't be read")?;
        if count == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..count]);
    }
}

pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).context("it can't be opened")
}

/// The number of the run that a file becomes for a node.
pub(super) fn log_id(digest: &Digest, node: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(digest);
    hash.update(node.as_bytes());
    let hash: Digest = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

/// As text.
pub(super) fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8]) -> Result<Kind, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        kind(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        assert_eq!(of(b"PAR1\0\0"), Ok(Kind::Parquet));
        assert_eq!(of(b"{\"flow\":{}}\n"), Ok(Kind::Json));
        assert_eq!(of(b"\n\n{\"flow\":{}}\n"), Ok(Kind::Json));
        assert_eq!(of(b"log_id,time,verdict\r\n"), Ok(Kind::Csv));
        assert_eq!(of(b""), Err("it is empty".to_owned()));
        for (content, said) in [
            (&b"\x0a\x0d\x0d\x0a\x00"[..], "it holds packets, not flows; "),
            (b"\x1f\x8b\x08", "it is compressed"),
            (b"a,b\n1,2\n", "it is neither Parquet"),
            (b"garbage\n{}\n", "it is neither Parquet"),
            (b"\xff\xfe\x00\x00", "it is neither Parquet"),
        ] {
            assert!(of(content).unwrap_err().starts_with(said), "{content:?}");
        }
    }

    #[test]
    fn runs_of_other_files_and_nodes_have_other_numbers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let abc = digest(file.path()).unwrap();
        // FIPS 180-2, appendix B.1.
        assert!(hexadecimal(&abc).starts_with("ba7816bf8f01cfea414140de5dae2223"));
        assert_eq!(log_id(&abc, "n"), log_id(&abc, "n"));
        assert_ne!(log_id(&abc, "n"), log_id(&abc, "m"));
        assert_ne!(log_id(&abc, "n"), log_id(&[0; 32], "n"));
    }
}
