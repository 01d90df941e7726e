//! Flows as a Parquet file, and back.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ord::sort::sort_to_indices;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::error::HistoryError;
use crate::store::FORMAT;

/// Rows of a row group: what statistics and bloom filters speak of.
pub const ROW_GROUP_ROWS: usize = 1 << 20;
/// Rows of a page at most: what the page index speaks of.
const PAGE_ROWS: usize = 20_000;
/// Higher levels take several times the time for a few percent.
const ZSTD_LEVEL: i32 = 3;

/// Numbers that hardly repeat: a dictionary of them would be as large as they are. Those that grow are written as
/// differences.
const GROWING: [&str; 2] = ["time", "sequence"];
const RANDOM: [&str; 3] = ["tcp_sequence", "tcp_acknowledgment", "waited_ns"];

/// What people look for by value. A bloom filter says which row groups don't have it, where the least and the greatest
/// value don't: addresses come in all row groups from everywhere.
const LOOKED_FOR: [&str; 5] = [
    "source_ip",
    "destination_ip",
    "source_pod",
    "destination_pod",
    "dns_query",
];
/// How often it may be wrong.
const BLOOM_FALSE: f64 = 0.01;
/// Values of a row group for which there is room at first; in the end a filter is as small as its values let it be.
const BLOOM_VALUES: u64 = 1 << 16;

/// The key of a file's metadata that tells its format.
const FORMAT_KEY: &str = "parallax.format";

/// Why a Parquet file, of which this is the end, isn't one that this program can read; `None` if it is.
#[must_use]
pub fn foreign(metadata: &FileMetaData) -> Option<String> {
    let mut pairs = metadata.key_value_metadata().into_iter().flatten();
    let Some(format) = pairs.find(|pair| pair.key == FORMAT_KEY) else {
        return Some("Parallax has not written it: its metadata names no format".to_owned());
    };
    let format = format.value.as_deref().unwrap_or_default();
    (format != FORMAT.to_string())
        .then(|| format!("it has format {format}, and this program reads format {FORMAT}; a newer one may read it"))
}

/// How a file with these columns is written.
///
/// # Errors
/// If a level of compression is none, which would be a fault of this program.
pub fn properties(schema: &SchemaRef) -> Result<WriterProperties, HistoryError> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("parallax ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_string())]));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let name = field.name().as_str();
        if LOOKED_FOR.contains(&name) {
            properties = properties
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_fpp(column.clone(), BLOOM_FALSE)
                .set_column_bloom_filter_max_ndv(column.clone(), BLOOM_VALUES);
        }
        if GROWING.contains(&name) {
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        } else if RANDOM.contains(&name) {
            properties = properties.set_column_dictionary_enabled(column, false);
        } else if *field.data_type() == DataType::Binary {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

/// Writes a file in memory, batch by batch.
pub struct FileWriter {
    inner: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl FileWriter {
    /// A file with these columns.
    ///
    /// # Errors
    /// If Parquet has no form for one of them.
    pub fn new(schema: &SchemaRef) -> Result<Self, HistoryError> {
        let properties = properties(schema)?;
        Ok(Self {
            inner: ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))?,
            rows: 0,
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// If they don't have the columns of the file.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), HistoryError> {
        self.rows += batch.num_rows() as u64;
        Ok(self.inner.write(batch)?)
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The whole file.
    ///
    /// # Errors
    /// If it can't be completed.
    pub fn finish(self) -> Result<Bytes, HistoryError> {
        Ok(self.inner.into_inner()?.into())
    }
}

/// The batches of a file in memory.
///
/// # Errors
/// If it isn't Parquet.
pub fn read(
    file: Bytes,
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, HistoryError>>, HistoryError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?
        .with_batch_size(batch_rows)
        .build()?;
    Ok(reader.map(|batch| Ok(batch?)))
}

/// Rows of a file in memory, as its end tells.
///
/// # Errors
/// If it isn't Parquet.
pub fn rows(file: Bytes) -> Result<u64, HistoryError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    Ok(u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0))
}

/// Rows in the order of the column named.
///
/// # Errors
/// If there is no such column.
pub fn sorted(batch: &RecordBatch, by: &str) -> Result<RecordBatch, HistoryError> {
    let times = batch.column(batch.schema_ref().index_of(by)?);
    let order = sort_to_indices(times, None, None)?;
    Ok(take_record_batch(batch, &order)?)
}
