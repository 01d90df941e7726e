//! Flows as packets in a pcapng file, for Wireshark and its kin: headers as far as a flow keeps them, without payload.
//!
//! Format: <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>.

mod headers;
pub(super) mod packet;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use arrow_array::types::UInt32Type;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::from_api::FlowReader;
use flow::from_table::TableReader;
use flow::schema::Column;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::sink::{Out, Sink};
use super::source::Chunk;
use crate::sql::footer::grouped;
use headers::Link;
use packet::NoPacket;

/// Times are in units of ten to the power of minus this many seconds.
const NANOSECONDS: u8 = 9;

/// What is said of the whole file.
const ABOUT: &str = "Headers as far as flows keep them: no payload, no TCP options, no IP identification. Lengths are those \
    of the packets.";

pub(super) struct PcapngSink {
    writer: PcapNgWriter<Out>,
    /// Number of each interface of the file.
    interfaces: HashMap<Interface, u32>,
    left_out: BTreeMap<NoPacket, u64>,
    answers: FlowReader,
    rows: TableReader,
}

/// What an interface of the file is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Interface {
    node: String,
    name: String,
    link: Link,
}

impl PcapngSink {
    pub(super) fn new(out: Out) -> Result<Self> {
        let program = concat!("parallax ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![
                SectionHeaderOption::Comment(Cow::Borrowed(ABOUT)),
                SectionHeaderOption::UserApplication(Cow::Borrowed(program)),
            ],
            ..SectionHeaderBlock::default()
        };
        Ok(Self {
            writer: PcapNgWriter::with_section_header(out, section).map_err(input_output)?,
            interfaces: HashMap::new(),
            left_out: BTreeMap::new(),
            answers: FlowReader::default(),
            rows: TableReader::default(),
        })
    }

    fn packet(&mut self, batch: &FlowBatch, row: usize) -> Result<()> {
        let headers = match packet::headers(batch, row) {
            Ok(headers) => headers,
            Err(why) => {
                *self.left_out.entry(why).or_default() += 1;
                return Ok(());
            }
        };
        let frame = headers.frame();
        let options = packet::comments(batch, row).into_iter();
        let block = EnhancedPacketBlock {
            interface_id: self.interface(batch, row, frame.link)?,
            // Packets from before 1970 have no time in this format.
            timestamp: Duration::from_nanos(u64::try_from(batch.time_ns(row)).unwrap_or_default()),
            original_len: u32::try_from(frame.length).unwrap_or(u32::MAX),
            data: Cow::Owned(frame.bytes),
            options: options.map(|text| EnhancedPacketOption::Comment(text.into())).collect(),
        };
        self.writer.write_pcapng_block(block).map_err(input_output)?;
        Ok(())
    }

    /// The number of the interface that the row was seen at. It is described where it occurs first.
    fn interface(&mut self, batch: &FlowBatch, row: usize, link: Link) -> Result<u32> {
        let index = batch
            .shared_at::<UInt32Type>(Column::InterfaceIndex, row)
            .filter(|index| *index > 0);
        let name = batch.text_at(Column::InterfaceName, row).map(str::to_owned);
        let interface = Interface {
            node: batch.text_at(Column::NodeName, row).unwrap_or_default().to_owned(),
            name: name
                .or_else(|| index.map(|index| format!("interface {index}")))
                .unwrap_or_else(|| "unknown interface".to_owned()),
            link,
        };
        if let Some(known) = self.interfaces.get(&interface) {
            return Ok(*known);
        }
        let mut options = vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(interface.name.clone())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        if !interface.node.is_empty() {
            let text = format!("on {}", interface.node);
            options.push(InterfaceDescriptionOption::IfDescription(text.into()));
        }
        let block = InterfaceDescriptionBlock {
            linktype: match link {
                Link::Ethernet => DataLink::ETHERNET,
                Link::Ip => DataLink::RAW,
            },
            snaplen: 0,
            options,
        };
        self.writer.write_pcapng_block(block).map_err(input_output)?;
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert(interface, number);
        Ok(number)
    }
}

impl Sink for PcapngSink {
    fn write(&mut self, chunk: &Chunk) -> Result<()> {
        let batch = match chunk {
            Chunk::Rows(rows) => self.rows.batch(rows)?,
            Chunk::Answers(answers) => {
                self.answers
                    .batch(answers.iter().filter_map(|answer| match &answer.response_types {
                        Some(ResponseTypes::Flow(flow)) => Some(flow),
                        _ => None,
                    }))
            }
        };
        let Some(batch) = batch else { return Ok(()) };
        for row in 0..batch.rows() {
            self.packet(&batch, row)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.writer.get_mut().flush()?)
    }

    fn finish(self: Box<Self>) -> Result<Option<String>> {
        self.writer.into_inner().flush()?;
        Ok(remark(&self.left_out))
    }
}

/// `left out 3 flows that are no packets: 2 TCP events, 1 application message`.
fn remark(left_out: &BTreeMap<NoPacket, u64>) -> Option<String> {
    let sum: u64 = left_out.values().sum();
    let kinds: Vec<String> = left_out
        .iter()
        .map(|((one, several), count)| format!("{} {}", grouped(*count), if *count == 1 { one } else { several }))
        .collect();
    let (flows, are) = if sum == 1 {
        ("flow", "is no packet")
    } else {
        ("flows", "are no packets")
    };
    (sum > 0).then(|| format!("left out {} {flows} that {are}: {}", grouped(sum), kinds.join(", ")))
}

/// So that a broken pipe is known for what it is.
fn input_output(error: PcapError) -> anyhow::Error {
    match error {
        PcapError::IoError(error) => error.into(),
        other => other.into(),
    }
}
