//! What a `GetFlows` asks for.

use arrow_array::types::TimestampNanosecondType;
use arrow_buffer::BooleanBuffer;
use flow::api::observer::GetFlowsRequest;
use flow::batch::FlowBatch;
use flow::filter::Filters;
use flow::mask::FlowMask;
use flow::schema::Column;
use prost::Message as _;
use tonic::Status;

use crate::log::FlowLog;

/// What a client asks for, checked.
#[derive(Debug)]
pub(super) struct FlowQuery {
    filters: Filters,
    /// Filters and mask as they were sent: requests with the same ones get the same bytes for the same rows.
    wish: Vec<u8>,
    mask: Option<FlowMask>,
    number: u64,
    first: bool,
    follow: bool,
    since_ns: Option<i64>,
    until_ns: Option<i64>,
}

impl FlowQuery {
    /// # Errors
    /// `InvalidArgument` with what is wrong.
    pub(super) fn new(request: &GetFlowsRequest) -> Result<Self, Status> {
        if request.first && request.follow {
            return Err(Status::invalid_argument(
                "first and follow exclude each other: the oldest flows don't change",
            ));
        }
        let filters = Filters::compile(&request.whitelist, &request.blacklist)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let paths = request
            .field_mask
            .as_ref()
            .map(|mask| mask.paths.as_slice())
            .unwrap_or_default();
        let mask = FlowMask::new(paths).map_err(|error| Status::invalid_argument(format!("field mask: {error}")))?;
        let wish = GetFlowsRequest {
            whitelist: request.whitelist.clone(),
            blacklist: request.blacklist.clone(),
            field_mask: request.field_mask.clone(),
            ..GetFlowsRequest::default()
        };
        Ok(Self {
            filters,
            wish: wish.encode_to_vec(),
            mask,
            number: request.number,
            first: request.first,
            follow: request.follow,
            since_ns: request.since.map(|time| time.to_nanos()),
            until_ns: request.until.map(|time| time.to_nanos()),
        })
    }

    pub(super) fn wish(&self) -> Vec<u8> {
        self.wish.clone()
    }

    pub(super) fn mask(&self) -> Option<&FlowMask> {
        self.mask.as_ref()
    }

    pub(super) fn follows(&self) -> bool {
        self.follow
    }

    /// How many of the oldest flows, if there is a limit.
    pub(super) fn most(&self) -> Option<u64> {
        (self.first && self.number > 0).then_some(self.number)
    }

    /// How many of the newest flows, if there is a limit.
    pub(super) fn newest(&self) -> Option<u64> {
        (!self.first && self.number > 0).then_some(self.number)
    }

    pub(super) fn since_ns(&self) -> Option<i64> {
        self.since_ns
    }

    pub(super) fn until_ns(&self) -> Option<i64> {
        self.until_ns
    }

    /// Whether all of that time is asked for.
    pub(super) fn spans(&self, (earliest, latest): (i64, i64)) -> bool {
        self.since_ns.is_none_or(|since| since <= earliest) && self.until_ns.is_none_or(|until| latest <= until)
    }

    /// Whether every row of the batch is asked for.
    pub(super) fn is_everything(&self, batch: &FlowBatch) -> bool {
        self.filters.is_empty() && self.spans(batch.time_range())
    }

    /// Marks the rows of a batch that are asked for.
    pub(super) fn matches(&self, batch: &FlowBatch) -> BooleanBuffer {
        if self.outside(batch) {
            return BooleanBuffer::new_unset(batch.rows());
        }
        let marked = self.filters.matches(batch);
        let Some(times) = batch
            .numbers::<TimestampNanosecondType>(Column::Time)
            .filter(|_| !self.spans(batch.time_range()))
        else {
            return marked;
        };
        let times = times.values();
        let wanted = BooleanBuffer::collect_bool(batch.rows(), |row| {
            self.since_ns.is_none_or(|since| since <= times[row])
                && self.until_ns.is_none_or(|until| times[row] <= until)
        });
        &marked & &wanted
    }

    /// Whether no row of the batch can be in the time that is asked for.
    fn outside(&self, batch: &FlowBatch) -> bool {
        let (earliest, latest) = batch.time_range();
        self.since_ns.is_some_and(|since| latest < since) || self.until_ns.is_some_and(|until| until < earliest)
    }

    /// Where to start. `end` is the number after that of the newest row there is.
    pub(super) fn start(&self, log: &FlowLog, end: u64) -> Start {
        let (oldest, _) = log.range();
        let at = |sequence| Start {
            sequence,
            time_ns: None,
        };
        if self.first || (self.number == 0 && (!self.follow || self.since_ns.is_some())) {
            return at(oldest);
        }
        if self.number == 0 {
            return at(end);
        }
        let mut left = self.number;
        for batch in log.read_from(0).iter().rev().filter(|batch| !self.outside(batch)) {
            let marked = self.matches(batch);
            let count = marked.count_set_bits() as u64;
            if count >= left {
                let skip = usize::try_from(count - left).unwrap_or(usize::MAX);
                let row = marked.set_indices().nth(skip).unwrap_or_default();
                return Start {
                    sequence: batch.first_sequence() + row as u64,
                    time_ns: Some(batch.time_ns(row)),
                };
            }
            left -= count;
        }
        at(oldest)
    }
}

/// Where a request starts in the log.
pub(super) struct Start {
    /// Number of the first row to look at.
    pub(super) sequence: u64,
    /// Its time, if the rows before it are of no interest: neither are the losses.
    pub(super) time_ns: Option<i64>,
}
