//! What writes flows in one of the formats.

use std::io::Write;

use anyhow::Result;

use super::Format;
use super::json::JsonSink;
use super::pcapng::PcapngSink;
use super::source::Chunk;
use super::table::{CsvSink, ParquetSink, TableSink};

/// Where the bytes go.
pub(super) type Out = Box<dyn Write + Send>;

/// Writes flows in one format.
pub(super) trait Sink {
    /// Writes some.
    fn write(&mut self, chunk: &Chunk) -> Result<()>;

    /// Hands on what was written so far, as far as the format can.
    fn flush(&mut self) -> Result<()>;

    /// Writes what a complete file has at its end. Says what could not be written, if anything.
    fn finish(self: Box<Self>) -> Result<Option<String>>;
}

/// Begins a file.
pub(super) fn open(format: Format, out: Out) -> Result<Box<dyn Sink>> {
    Ok(match format {
        Format::Json => Box::new(JsonSink::new(out)),
        Format::Csv => Box::new(TableSink::new(CsvSink::new(out)?)),
        Format::Pcapng => Box::new(PcapngSink::new(out)?),
        Format::Parquet => Box::new(TableSink::new(ParquetSink::new(out)?)),
    })
}
