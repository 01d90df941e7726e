//! Writes responses in one of the formats.

use std::io::{self, Write};

use tabwriter::TabWriter;

use super::color::Palette;
use super::host::Host;
use super::options::{Format, Options};
use super::{cells, drop_text, escape, node_status, time};
use crate::api::flow::{Flow, LostEvent};
use crate::api::observer::GetFlowsResponse;
use crate::api::observer::get_flows_response::ResponseTypes;
use crate::api::{Timestamp, forget_unknown_values};
use crate::drop_reason;

/// Writes flows and lost events to `O`, the state of nodes to `E`.
///
/// A table is written by [`Printer::finish`], when all its rows are known; the other formats write each response at
/// once, in a single call to the stream.
pub struct Printer<O, E> {
    out: O,
    err: E,
    options: Options,
    palette: Palette,
    table: Option<TabWriter<Vec<u8>>>,
    /// Reused for every response.
    line: Vec<u8>,
    /// A record was printed before, so the next one needs a rule above it.
    after_record: bool,
}

impl<O: Write, E: Write> Printer<O, E> {
    /// A printer to these two streams.
    #[must_use]
    pub fn new(out: O, err: E, options: Options) -> Self {
        let table = (options.format == Format::Table).then(|| TabWriter::new(Vec::new()).minwidth(0).padding(3));
        let color = options.color && matches!(options.format, Format::Compact | Format::Dict);
        Self {
            out,
            err,
            palette: Palette::new(color),
            options,
            table,
            line: Vec::with_capacity(512),
            after_record: false,
        }
    }

    /// Writes one response; one without an event writes nothing.
    ///
    /// # Errors
    /// When the stream can't be written to, or with kind `InvalidData` when the response has no JSON form: a time that
    /// is out of range.
    pub fn print(&mut self, response: &GetFlowsResponse) -> io::Result<()> {
        match self.try_print(response) {
            // Rare: a newer server's value. The flow is worth more than that value.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let mut known = response.clone();
                forget_unknown_values(&mut known);
                self.try_print(&known)
            }
            other => other,
        }
    }

    fn try_print(&mut self, response: &GetFlowsResponse) -> io::Result<()> {
        let Some(event) = &response.response_types else {
            return Ok(());
        };
        self.line.clear();
        if let ResponseTypes::NodeStatus(status) = event {
            if !self.options.all_node_status && !node_status::is_failure(status) {
                return Ok(());
            }
            match self.options.format {
                Format::Json => self.json(response)?,
                Format::Dict => {
                    self.start_record(response.time.as_ref());
                    node_status::push_fields(&mut self.line, status);
                }
                Format::Compact | Format::Table => {
                    self.push_time(response.time.as_ref());
                    self.line.extend_from_slice(b" [");
                    escape::push(&mut self.line, &response.node_name);
                    self.line.extend_from_slice(b"]: ");
                    node_status::push(&mut self.line, status);
                    self.line.push(b'\n');
                }
            }
            return self.err.write_all(&self.line);
        }
        match (self.options.format, event) {
            (Format::Json, ResponseTypes::Flow(flow)) if self.options.bare_json => self.json(flow)?,
            (Format::Json, ResponseTypes::LostEvents(lost)) if self.options.bare_json => self.json(lost)?,
            (Format::Json, _) => self.json(response)?,
            (Format::Compact, ResponseTypes::Flow(flow)) => self.compact(flow),
            (Format::Compact, ResponseTypes::LostEvents(lost)) => self.compact_lost(response, lost),
            (Format::Dict, ResponseTypes::Flow(flow)) => self.dict(flow),
            (Format::Dict, ResponseTypes::LostEvents(lost)) => self.dict_lost(response, lost),
            (Format::Table, ResponseTypes::Flow(flow)) => return self.row(flow),
            (Format::Table, ResponseTypes::LostEvents(lost)) => return self.row_lost(response, lost),
            (_, ResponseTypes::NodeStatus(_)) => {}
        }
        self.out.write_all(&self.line)
    }

    /// Hands everything written so far to the operating system.
    ///
    /// # Errors
    /// When a stream can't be written to.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }

    /// Writes what was held back and returns the streams.
    ///
    /// # Errors
    /// When a stream can't be written to.
    pub fn finish(mut self) -> io::Result<(O, E)> {
        if let Some(table) = self.table.take() {
            let table = table
                .into_inner()
                .map_err(|error| io::Error::other(error.to_string()))?;
            self.out.write_all(&table)?;
        }
        self.flush()?;
        Ok((self.out, self.err))
    }

    fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.line, value)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.line.push(b'\n');
        Ok(())
    }

    fn push_time(&mut self, at: Option<&Timestamp>) {
        time::push(&mut self.line, at, self.options.time_format, self.options.zone);
    }

    fn push_host(&mut self, host: &Host<'_>) {
        host.push(&mut self.line, self.options.ip_translation, &self.palette);
    }

    fn compact(&mut self, flow: &Flow) {
        self.push_time(flow.time.as_ref());
        if self.options.print_node_name {
            self.line.extend_from_slice(b" [");
            escape::push(&mut self.line, &flow.node_name);
            self.line.push(b']');
        }
        self.line.extend_from_slice(b": ");
        let (source, destination) = (Host::source(flow), Host::destination(flow));
        // The one that asked stands on the left, whichever way the packet went.
        let (left, arrow, right): (_, &[u8], _) = match flow.is_reply.as_ref().map(|is_reply| is_reply.value) {
            None => (source, b" <> ", destination),
            Some(false) => (source, b" -> ", destination),
            Some(true) => (destination, b" <- ", source),
        };
        self.push_host(&left);
        self.line.push(b' ');
        left.push_identity(&mut self.line, &self.palette);
        self.line.extend_from_slice(arrow);
        self.push_host(&right);
        self.line.push(b' ');
        right.push_identity(&mut self.line, &self.palette);
        self.line.push(b' ');
        cells::push_type(&mut self.line, flow);
        self.line.push(b' ');
        cells::push_verdict(&mut self.line, flow, &self.options, &self.palette);
        self.line.extend_from_slice(b" (");
        cells::push_summary(&mut self.line, flow);
        self.line.extend_from_slice(b")\n");
        if self.options.explain_drops {
            self.explain(flow);
        }
    }

    fn explain(&mut self, flow: &Flow) {
        let Some(reason) = drop_text::kernel_reason(flow) else {
            return;
        };
        let line = &mut self.line;
        line.extend_from_slice(b"    ");
        line.extend_from_slice(self.palette.dim.as_bytes());
        escape::push(line, reason);
        if let Some(detail) = flow.detail.as_ref().filter(|detail| !detail.drop_symbol.is_empty()) {
            line.extend_from_slice(b" in ");
            escape::push(line, &detail.drop_symbol);
        }
        line.extend_from_slice(b": ");
        line.extend_from_slice(drop_reason::advice(reason).to_string().as_bytes());
        line.extend_from_slice(self.palette.reset.as_bytes());
        line.push(b'\n');
    }

    fn compact_lost(&mut self, response: &GetFlowsResponse, lost: &LostEvent) {
        self.push_time(response.time.as_ref());
        self.line.extend_from_slice(b" EVENTS LOST: ");
        self.line.extend_from_slice(lost.source().as_str_name().as_bytes());
        self.line.push(b' ');
        self.push_lost(lost, " ");
        self.line.push(b'\n');
    }

    /// Which CPU lost how many, and when.
    fn push_lost(&mut self, lost: &LostEvent, between: &str) {
        let cpu = lost.cpu.as_ref().map_or(0, |cpu| cpu.value);
        let count = lost.num_events_lost;
        self.line
            .extend_from_slice(format!("CPU({cpu}){between}{count}").as_bytes());
        if lost.first.is_some() || lost.last.is_some() {
            self.line.extend_from_slice(b" (first: ");
            self.push_time(lost.first.as_ref());
            self.line.extend_from_slice(b", last: ");
            self.push_time(lost.last.as_ref());
            self.line.push(b')');
        }
    }

    fn start_record(&mut self, at: Option<&Timestamp>) {
        if std::mem::replace(&mut self.after_record, true) {
            self.line.extend_from_slice(b"------------\n");
        }
        self.line.extend_from_slice(b"  TIMESTAMP: ");
        self.push_time(at);
        self.line.push(b'\n');
    }

    fn push_node_field(&mut self, node: &str) {
        if self.options.print_node_name {
            self.line.extend_from_slice(b"       NODE: ");
            escape::push(&mut self.line, node);
            self.line.push(b'\n');
        }
    }

    fn dict(&mut self, flow: &Flow) {
        self.start_record(flow.time.as_ref());
        self.push_node_field(&flow.node_name);
        self.line.extend_from_slice(b"     SOURCE: ");
        self.push_host(&Host::source(flow));
        self.line.extend_from_slice(b"\nDESTINATION: ");
        self.push_host(&Host::destination(flow));
        self.line.extend_from_slice(b"\n       TYPE: ");
        cells::push_type(&mut self.line, flow);
        self.line.extend_from_slice(b"\n    VERDICT: ");
        cells::push_verdict(&mut self.line, flow, &self.options, &self.palette);
        self.line.extend_from_slice(b"\n    SUMMARY: ");
        cells::push_summary(&mut self.line, flow);
        self.line.push(b'\n');
    }

    fn dict_lost(&mut self, response: &GetFlowsResponse, lost: &LostEvent) {
        self.start_record(response.time.as_ref());
        self.push_node_field(&response.node_name);
        self.line.extend_from_slice(b"     SOURCE: ");
        self.line.extend_from_slice(lost.source().as_str_name().as_bytes());
        self.line
            .extend_from_slice(b"\n       TYPE: EVENTS LOST\n    VERDICT: -\n    SUMMARY: ");
        self.push_lost(lost, " - ");
        self.line.push(b'\n');
    }

    fn start_row(&mut self, at: Option<&Timestamp>, node: &str) {
        if !std::mem::replace(&mut self.after_record, true) {
            let node = if self.options.print_node_name { "NODE\t" } else { "" };
            self.line.extend_from_slice(
                format!("TIMESTAMP\t{node}SOURCE\tDESTINATION\tTYPE\tVERDICT\tSUMMARY\n").as_bytes(),
            );
        }
        self.push_time(at);
        self.line.push(b'\t');
        if self.options.print_node_name {
            escape::push(&mut self.line, node);
            self.line.push(b'\t');
        }
    }

    fn end_row(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        match &mut self.table {
            Some(table) => table.write_all(&self.line),
            None => Ok(()),
        }
    }

    fn row(&mut self, flow: &Flow) -> io::Result<()> {
        self.start_row(flow.time.as_ref(), &flow.node_name);
        self.push_host(&Host::source(flow));
        self.line.push(b'\t');
        self.push_host(&Host::destination(flow));
        self.line.push(b'\t');
        cells::push_type(&mut self.line, flow);
        self.line.push(b'\t');
        cells::push_verdict(&mut self.line, flow, &self.options, &self.palette);
        self.line.push(b'\t');
        cells::push_summary(&mut self.line, flow);
        self.end_row()
    }

    fn row_lost(&mut self, response: &GetFlowsResponse, lost: &LostEvent) -> io::Result<()> {
        self.start_row(response.time.as_ref(), &response.node_name);
        self.line.extend_from_slice(lost.source().as_str_name().as_bytes());
        self.line.extend_from_slice(b"\t-\tEVENTS LOST\t-\t");
        self.push_lost(lost, " - ");
        self.end_row()
    }
}
