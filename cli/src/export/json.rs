//! Flows as JSON: to the byte what `parallax observe -o json` prints.

use std::io::{Stderr, Write as _};

use anyhow::Result;
use flow::from_table::TableReader;
use flow::text::{Format, Options, Printer};

use super::sink::{Out, Sink};
use super::source::Chunk;

pub(super) struct JsonSink {
    printer: Printer<Out, Stderr>,
    reader: TableReader,
}

impl JsonSink {
    pub(super) fn new(out: Out) -> Self {
        let options = Options {
            format: Format::Json,
            ..Options::default()
        };
        Self {
            printer: Printer::new(out, std::io::stderr(), options),
            reader: TableReader::default(),
        }
    }
}

impl Sink for JsonSink {
    fn write(&mut self, chunk: &Chunk) -> Result<()> {
        match chunk {
            Chunk::Answers(answers) => {
                for answer in answers {
                    self.printer.print(answer)?;
                }
            }
            Chunk::Rows(rows) => {
                let Some(flows) = self.reader.batch(rows)? else {
                    return Ok(());
                };
                for row in 0..flows.rows() {
                    self.printer.print(&flows.to_response(row))?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.printer.flush()?)
    }

    fn finish(self: Box<Self>) -> Result<Option<String>> {
        let (mut out, _) = self.printer.finish()?;
        out.flush()?;
        Ok(None)
    }
}
