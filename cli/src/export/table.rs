//! Flows as rows of the table `flows`, in CSV or Parquet.

use std::io::Write as _;

use anyhow::Result;
use arrow_array::RecordBatch;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::builder::FlowBatchBuilder;
use flow::from_api::FlowReader;
use flow::table::{table_batch, table_schema};
use parquet::arrow::ArrowWriter;

use super::sink::{Out, Sink};
use super::source::Chunk;

/// Takes rows of the table.
pub(super) trait RowsSink {
    fn rows(&mut self, rows: &RecordBatch) -> Result<()>;
    fn flush(&mut self) -> Result<()>;
    fn finish(self) -> Result<()>;
}

/// Makes rows of all flows.
pub(super) struct TableSink<S> {
    rows: S,
    reader: FlowReader,
    /// Flows of a server have an id of their own, so the log's number says nothing; rows are counted all the same.
    builder: FlowBatchBuilder,
    columns: Vec<usize>,
}

impl<S: RowsSink> TableSink<S> {
    pub(super) fn new(rows: S) -> Self {
        Self {
            rows,
            reader: FlowReader::default(),
            builder: FlowBatchBuilder::new(0, 0),
            columns: (0..table_schema().fields().len()).collect(),
        }
    }

    fn seal(&mut self) -> Result<()> {
        match self.builder.seal() {
            Some(batch) => self.rows.rows(&table_batch(&batch, &self.columns)?),
            None => Ok(()),
        }
    }
}

impl<S: RowsSink> Sink for TableSink<S> {
    fn write(&mut self, chunk: &Chunk) -> Result<()> {
        let answers = match chunk {
            Chunk::Rows(rows) => return self.rows.rows(rows),
            Chunk::Answers(answers) => answers,
        };
        for answer in answers {
            let Some(ResponseTypes::Flow(flow)) = &answer.response_types else {
                continue;
            };
            self.reader.append(flow, &mut self.builder);
            if self.builder.is_full() {
                self.seal()?;
            }
        }
        self.seal()
    }

    fn flush(&mut self) -> Result<()> {
        self.rows.flush()
    }

    fn finish(self: Box<Self>) -> Result<Option<String>> {
        self.rows.finish()?;
        Ok(None)
    }
}

/// Comma-separated values with a header.
pub(super) struct CsvSink {
    writer: arrow_csv::Writer<Out>,
}

impl CsvSink {
    pub(super) fn new(out: Out) -> Result<Self> {
        let mut writer = arrow_csv::WriterBuilder::new().with_header(true).build(out);
        // Also a file without flows has its header.
        writer.write(&RecordBatch::new_empty(table_schema()))?;
        Ok(Self { writer })
    }
}

impl RowsSink for CsvSink {
    fn rows(&mut self, rows: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(rows)?)
    }

    fn flush(&mut self) -> Result<()> {
        // The writer flushes with each batch.
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(self.writer.into_inner().flush()?)
    }
}

/// A Parquet file that is written as those of the history are.
pub(super) struct ParquetSink {
    writer: ArrowWriter<Out>,
}

impl ParquetSink {
    pub(super) fn new(out: Out) -> Result<Self> {
        let schema = table_schema();
        let properties = ::history::file::properties(&schema)?;
        Ok(Self {
            writer: ArrowWriter::try_new(out, schema, Some(properties))?,
        })
    }
}

impl RowsSink for ParquetSink {
    fn rows(&mut self, rows: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(rows)?)
    }

    fn flush(&mut self) -> Result<()> {
        // A file of columns can be read only when it is complete.
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(self.writer.into_inner()?.flush()?)
    }
}
