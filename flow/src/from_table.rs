//! From a row of the table `flows` back to a flow: for files that hold such rows.
//!
//! What [`crate::table`] turns into text is turned back, so that a flow from a file is as complete as its columns. A row's
//! `log_id` and `sequence` become the id that the flow had; in a batch it gets new ones.
//!
//! ```
//! use flow::{builder::FlowBatchBuilder, from_table::TableReader, record::FlowRecord, table};
//!
//! let mut builder = FlowBatchBuilder::new(7, 0);
//! builder.append(&FlowRecord { time_ns: 1, verdict: 2, ..Default::default() });
//! let batch = builder.seal().expect("one row");
//! let all: Vec<usize> = (0..table::table_schema().fields().len()).collect();
//! let rows = table::table_batch(&batch, &all).expect("all columns");
//! let read = TableReader::default().batch(&rows).expect("rows of the table").expect("one row");
//! assert_eq!(read.to_response(0), batch.to_response(0));
//! ```

mod words;

use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

use crate::batch::{FlowBatch, row_uuid};
use crate::builder::{FlowBatchBuilder, MAX_ROWS};
use crate::endpoint::{DropSite, Endpoint, Interface, Node, Process};
use crate::from_api::mac;
use crate::record::{Address, Dns, FlowRecord, Http, Ip, L7, TcpEvent, Transport, Tunnel, to_stored};
use crate::remembered::Remembered;
use crate::schema::Column;
use crate::table::table_schema;
use crate::to_api::{DESTINATION, EndpointColumns, SOURCE};

/// Why rows are not flows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A column is of another type than that of the table.
    #[error("the column `{column}` is {found} and should be {expected}")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
        /// The table's.
        expected: DataType,
    },
    /// The column that every flow has is missing.
    #[error("there is no column `time`, so these are no flows")]
    NoTime,
    /// A row has no time.
    #[error("it has no time")]
    NullTime,
    /// A text says nothing that the column can hold.
    #[error("`{value}` is no {column}")]
    Value {
        /// The column.
        column: &'static str,
        /// The text.
        value: String,
    },
    /// There are too many rows for one batch.
    #[error("{rows} rows are too many for a batch")]
    TooMany {
        /// How many.
        rows: usize,
    },
}

/// Turns rows of the table into flows.
#[derive(Debug, Default)]
pub struct TableReader {
    endpoints: Remembered<Endpoint>,
    nodes: Remembered<Node>,
    interfaces: Remembered<Interface>,
    drops: Remembered<DropSite>,
    processes: Remembered<Process>,
    /// Node of rows that don't say theirs.
    unknown_node: String,
}

impl TableReader {
    /// A reader that takes `node` for the node of rows that don't say theirs.
    #[must_use]
    pub fn with_node(node: &str) -> Self {
        Self {
            unknown_node: node.to_owned(),
            ..Self::default()
        }
    }

    /// All rows as one batch, whose log has the number 0; `None` if there are no rows.
    ///
    /// # Errors
    /// If they are not rows of the table, or more than a batch can have.
    pub fn batch(&mut self, rows: &RecordBatch) -> Result<Option<FlowBatch>, TableError> {
        if rows.num_rows() > MAX_ROWS {
            return Err(TableError::TooMany { rows: rows.num_rows() });
        }
        let table = TableRows::new(rows)?;
        let mut builder = FlowBatchBuilder::new(0, 0);
        for row in 0..rows.num_rows() {
            self.append(&table, row, &mut builder)?;
        }
        Ok(builder.seal())
    }

    /// Appends a row to a batch that isn't full.
    ///
    /// # Errors
    /// If the row says something that its columns can't mean.
    ///
    /// # Panics
    /// If the batch is full; see [`FlowBatchBuilder::is_full`].
    pub fn append(
        &mut self,
        rows: &TableRows<'_>,
        row: usize,
        builder: &mut FlowBatchBuilder,
    ) -> Result<(), TableError> {
        let cells = Row { rows, row };
        let node = self.nodes.get(Node {
            name: rows.node_name(row).unwrap_or_else(|| self.unknown_node.clone()),
            labels: cells.owned(Column::NodeLabels),
        });
        let interface = self.interfaces.get(Interface {
            index: cells.number::<UInt32Type>(Column::InterfaceIndex).unwrap_or_default(),
            name: cells.owned(Column::InterfaceName),
        });
        let drop = self.drops.get(DropSite {
            reason: cells.owned(Column::DropReason),
            code: cells.number::<UInt32Type>(Column::DropReasonCode).unwrap_or_default(),
            api: cells.number::<UInt32Type>(Column::DropReasonApi).unwrap_or_default(),
            symbol: cells.owned(Column::DropSymbol),
        });
        let process = self.processes.get(Process {
            id: cells.number::<UInt32Type>(Column::ProcessId).unwrap_or_default(),
            name: cells.owned(Column::ProcessName),
        });
        let source = self.endpoints.get(cells.endpoint(&SOURCE));
        let destination = self.endpoints.get(cells.endpoint(&DESTINATION));
        let event_type = cells
            .word(Column::EventType)?
            .and_then(|number| i32::try_from(number).ok());
        let uuid = cells.uuid();
        let l7 = cells.l7()?;
        let small = |column| Ok(cells.small(column)?.unwrap_or_default());
        let number = |column| cells.number::<UInt64Type>(column).unwrap_or_default();
        let half = |column| cells.number::<UInt32Type>(column).unwrap_or_default();
        builder.append(&FlowRecord {
            time_ns: cells
                .number::<TimestampNanosecondType>(Column::Time)
                .ok_or(TableError::NullTime)?,
            uuid: uuid.as_deref(),
            node: node.as_ref(),
            flow_type: small(Column::FlowType)?,
            event_type,
            event_sub_type: cells.event_sub_type(event_type)?,
            verdict: small(Column::Verdict)?,
            drop: drop.as_ref(),
            traffic_direction: small(Column::TrafficDirection)?,
            observation_point: small(Column::ObservationPoint)?,
            trace_reason: small(Column::TraceReason)?,
            is_reply: cells.boolean(Column::IsReply),
            policy_match_type: half(Column::PolicyMatchType),
            interface: interface.as_ref(),
            netns_cookie: number(Column::NetnsCookie),
            cgroup_id: number(Column::CgroupId),
            process: process.as_ref(),
            socket_cookie: number(Column::SocketCookie),
            length: half(Column::Length),
            packets: half(Column::Packets),
            tries: half(Column::Tries),
            waited_ns: number(Column::WaitedNs),
            mac: cells
                .parsed(Column::SourceMac, mac)?
                .zip(cells.parsed(Column::DestinationMac, mac)?),
            vlan: cells.number::<UInt16Type>(Column::Vlan),
            inner_vlan: cells.number::<UInt16Type>(Column::InnerVlan),
            ip: cells.ip()?,
            transport: cells.transport()?,
            tcp_event: TcpEvent {
                old_state: cells.text(Column::TcpStateOld).unwrap_or_default(),
                new_state: cells.text(Column::TcpStateNew).unwrap_or_default(),
                srtt_us: half(Column::SrttUs),
                reset_reason: cells.text(Column::ResetReason).unwrap_or_default(),
            },
            tunnel: cells.tunnel()?,
            source: source.as_ref(),
            destination: destination.as_ref(),
            l7: l7.as_ref(),
            rest: cells.rest(),
            ip_trace_id: number(Column::IpTraceId),
            trace_id: cells.text(Column::TraceId),
            span_id: cells.text(Column::SpanId),
        });
        Ok(())
    }
}

/// Rows of the table with their columns looked up. Columns that are not there are null.
#[derive(Debug)]
pub struct TableRows<'a> {
    columns: Vec<Option<&'a dyn Array>>,
    log_id: Option<&'a dyn Array>,
    sequence: Option<&'a dyn Array>,
    cluster: Option<&'a dyn Array>,
    node: Option<&'a dyn Array>,
}

impl<'a> TableRows<'a> {
    /// Looks for the table's columns by their names. Others are passed over.
    ///
    /// # Errors
    /// If one is of another type than the table's, or there is no `time`.
    pub fn new(rows: &'a RecordBatch) -> Result<Self, TableError> {
        let schema = table_schema();
        for field in rows.schema_ref().fields() {
            let expected = schema.field_with_name(field.name()).map(|field| field.data_type());
            if let Ok(expected) = expected
                && expected != field.data_type()
            {
                return Err(TableError::Type {
                    column: field.name().clone(),
                    found: field.data_type().clone(),
                    expected: expected.clone(),
                });
            }
        }
        let find = |name: &str| rows.column_by_name(name).map(AsRef::as_ref);
        if find(Column::Time.name()).is_none() {
            return Err(TableError::NoTime);
        }
        Ok(Self {
            columns: Column::ALL.iter().map(|column| find(column.name())).collect(),
            log_id: find("log_id"),
            sequence: find("sequence"),
            cluster: find("cluster"),
            node: find("node"),
        })
    }

    /// Node that observed a flow, `cluster/node` or `node`.
    #[must_use]
    pub fn node_name(&self, row: usize) -> Option<String> {
        let text = |array: Option<&'a dyn Array>| {
            let array = array?.as_string_view();
            array.is_valid(row).then(|| array.value(row))
        };
        let node = text(self.node)?;
        Some(match text(self.cluster) {
            Some(cluster) => format!("{cluster}/{node}"),
            None => node.to_owned(),
        })
    }
}

/// One row.
struct Row<'a> {
    rows: &'a TableRows<'a>,
    row: usize,
}

impl<'a> Row<'a> {
    /// The column, if it has a value in this row.
    fn cell(&self, column: Column) -> Option<&'a dyn Array> {
        self.rows.columns[column.index()].filter(|array| array.is_valid(self.row))
    }

    fn text(&self, column: Column) -> Option<&'a str> {
        Some(self.cell(column)?.as_string_view().value(self.row))
    }

    fn owned(&self, column: Column) -> String {
        self.text(column).unwrap_or_default().to_owned()
    }

    fn number<T: ArrowPrimitiveType>(&self, column: Column) -> Option<T::Native> {
        Some(self.cell(column)?.as_primitive::<T>().value(self.row))
    }

    fn boolean(&self, column: Column) -> Option<bool> {
        Some(self.cell(column)?.as_boolean().value(self.row))
    }

    fn rest(&self) -> Option<&'a [u8]> {
        Some(self.cell(Column::Rest)?.as_binary::<i32>().value(self.row))
    }

    fn parsed<T>(&self, column: Column, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, TableError> {
        let Some(text) = self.text(column) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(TableError::Value {
                column: column.name(),
                value: text.to_owned(),
            }),
        }
    }

    fn address(&self, column: Column) -> Result<Option<Address>, TableError> {
        self.parsed(column, |text| text.parse::<IpAddr>().ok().map(to_stored))
    }

    /// The number behind a word.
    fn word(&self, column: Column) -> Result<Option<u32>, TableError> {
        self.parsed(column, |word| words::number(column, word))
    }

    fn small(&self, column: Column) -> Result<Option<u8>, TableError> {
        self.parsed(column, |word| u8::try_from(words::number(column, word)?).ok())
    }

    fn half(&self, column: Column) -> Result<Option<u16>, TableError> {
        self.parsed(column, |word| u16::try_from(words::number(column, word)?).ok())
    }

    fn event_sub_type(&self, event_type: Option<i32>) -> Result<i32, TableError> {
        let Some(event_type) = event_type else { return Ok(0) };
        let sub_type = self.parsed(Column::EventSubType, |word| words::event_sub_type(event_type, word))?;
        Ok(sub_type.unwrap_or_default())
    }

    /// The id that the flow came with, or the one that its log gave it.
    fn uuid(&self) -> Option<String> {
        if let Some(uuid) = self.text(Column::Uuid) {
            return Some(uuid.to_owned());
        }
        let number = |array: Option<&dyn Array>| {
            let array = array?.as_primitive::<UInt64Type>();
            array.is_valid(self.row).then(|| array.value(self.row))
        };
        let (log_id, sequence) = number(self.rows.log_id).zip(number(self.rows.sequence))?;
        Some(row_uuid(log_id, sequence).to_string())
    }

    fn endpoint(&self, columns: &EndpointColumns) -> Endpoint {
        let number = |column| self.number::<UInt32Type>(column).unwrap_or_default();
        Endpoint {
            id: number(columns.id),
            identity: number(columns.identity),
            cluster: self.owned(columns.cluster),
            namespace: self.owned(columns.namespace),
            pod: self.owned(columns.pod),
            labels: self.owned(columns.labels),
            workloads: self.owned(columns.workloads),
            names: self.owned(columns.names),
            service: self.owned(columns.service),
            service_namespace: self.owned(columns.service_namespace),
        }
    }

    fn ip(&self) -> Result<Option<Ip>, TableError> {
        let ip = Ip {
            version: self.number::<UInt8Type>(Column::IpVersion).unwrap_or_default(),
            source: self.address(Column::SourceIp)?,
            destination: self.address(Column::DestinationIp)?,
            source_xlated: self.address(Column::SourceIpXlated)?,
            encrypted: self.boolean(Column::Encrypted).unwrap_or_default(),
            ttl: self.number::<UInt8Type>(Column::Ttl),
            fragment_offset: self.number::<UInt16Type>(Column::FragmentOffset),
        };
        Ok((ip != Ip::default()).then_some(ip))
    }

    fn transport(&self) -> Result<Transport, TableError> {
        let port = |column| self.number::<UInt16Type>(column);
        let tcp = self
            .number::<UInt32Type>(Column::TcpSequence)
            .zip(self.number::<UInt32Type>(Column::TcpAcknowledgment))
            .zip(self.number::<UInt16Type>(Column::TcpWindow));
        Ok(Transport {
            protocol: self.small(Column::Protocol)?,
            ports: port(Column::SourcePort).zip(port(Column::DestinationPort)),
            tcp_flags: self.half(Column::TcpFlags)?,
            tcp: tcp.map(|((sequence, acknowledgment), window)| (sequence, acknowledgment, window)),
            icmp: self
                .number::<UInt8Type>(Column::IcmpType)
                .zip(self.number::<UInt8Type>(Column::IcmpCode)),
        })
    }

    fn tunnel(&self) -> Result<Option<Tunnel>, TableError> {
        let Some(protocol) = self.small(Column::TunnelProtocol)? else {
            return Ok(None);
        };
        let port = |column| self.number::<UInt16Type>(column);
        Ok(Some(Tunnel {
            protocol,
            vni: self.number::<UInt32Type>(Column::TunnelVni).unwrap_or_default(),
            addresses: self
                .address(Column::TunnelSourceIp)?
                .zip(self.address(Column::TunnelDestinationIp)?),
            ports: port(Column::TunnelSourcePort).zip(port(Column::TunnelDestinationPort)),
        }))
    }

    fn l7(&self) -> Result<Option<L7>, TableError> {
        let Some(message_type) = self.small(Column::L7Type)? else {
            return Ok(None);
        };
        let dns = match self.text(Column::DnsQuery) {
            Some(query) => Some(Dns {
                query: query.to_owned(),
                qtypes: self.owned(Column::DnsQtypes),
                rrtypes: self.owned(Column::DnsRrtypes),
                rcode: self.half(Column::DnsRcode)?.unwrap_or_default(),
                ips: self.owned(Column::DnsIps),
                ttl: self.number::<UInt32Type>(Column::DnsTtl).unwrap_or_default(),
                cnames: self.owned(Column::DnsCnames),
                source: self.owned(Column::DnsSource),
            }),
            None => None,
        };
        let http = self.text(Column::HttpMethod).map(|method| Http {
            code: self.number::<UInt16Type>(Column::HttpCode).unwrap_or_default(),
            method: method.to_owned(),
            url: self.owned(Column::HttpUrl),
            protocol: self.owned(Column::HttpProtocol),
            headers: self.owned(Column::HttpHeaders),
        });
        Ok(Some(L7 {
            message_type,
            latency_ns: self.number::<UInt64Type>(Column::L7LatencyNs).unwrap_or_default(),
            dns,
            http,
        }))
    }
}

#[cfg(test)]
mod tests;
