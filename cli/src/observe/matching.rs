//! Filters applied here, to flows that come from a file: the same code that servers run, over columns.

use arrow_buffer::BooleanBuffer;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::filter::Filters;
use flow::from_api::FlowReader;

use super::filter_flags::FilterArgs;
use super::filters::FilterLists;
use crate::usage::UsageError;

/// Filters that are ready to be applied.
pub(crate) struct Matching {
    filters: Filters,
    /// There are no filters at all, so that flows needn't become columns.
    all_flows: bool,
    /// There is no allow list, so that lost events and states of nodes are shown as well.
    all_events: bool,
    reader: FlowReader,
}

impl Matching {
    /// Checks the values of the filters: told here, a mistake costs no connection and reads the same with every server.
    /// `args` are the flags that the lists come from.
    pub(crate) fn new(lists: &FilterLists, args: &FilterArgs) -> Result<Self, UsageError> {
        let filters = Filters::compile(&lists.allow, &lists.deny)
            .map_err(|error| culprit(args).unwrap_or_else(|| UsageError(error.to_string())))?;
        Ok(Self {
            filters,
            all_flows: lists.allow.is_empty() && lists.deny.is_empty(),
            all_events: lists.allow.is_empty(),
            reader: FlowReader::default(),
        })
    }

    /// The wanted rows of a batch; `None` if there are none.
    pub(crate) fn matching(&self, batch: FlowBatch) -> Option<FlowBatch> {
        match self.rows(&batch) {
            None => Some(batch),
            Some(rows) => batch.select(&rows),
        }
    }

    /// The rows of a batch that are wanted; `None` if there are no filters.
    pub(crate) fn rows(&self, batch: &FlowBatch) -> Option<BooleanBuffer> {
        (!self.all_flows).then(|| self.filters.matches(batch))
    }

    /// Whether every flow is wanted.
    pub(crate) fn is_all(&self) -> bool {
        self.all_flows
    }

    /// Whether each response is to be shown.
    pub(crate) fn shown(&mut self, responses: &[GetFlowsResponse]) -> Vec<bool> {
        let flows = responses.iter().filter_map(|response| match &response.response_types {
            Some(ResponseTypes::Flow(flow)) => Some(flow),
            _ => None,
        });
        let batch = if self.all_flows { None } else { self.reader.batch(flows) };
        let matches = batch.map(|batch| self.filters.matches(&batch));
        let mut row = 0;
        let shown = responses.iter().map(|response| match &response.response_types {
            Some(ResponseTypes::Flow(_)) => {
                row += 1;
                matches.as_ref().is_none_or(|matches| matches.value(row - 1))
            }
            Some(_) => self.all_events,
            None => false,
        });
        shown.collect()
    }
}

/// The flag whose value can't be used, also if it stands alone.
fn culprit(args: &FilterArgs) -> Option<UsageError> {
    args.given.iter().find_map(|given| {
        let alone = FilterArgs {
            given: vec![given.clone()],
            nots: Vec::new(),
        };
        let lists = FilterLists::build(&alone, (&[], &[])).ok()?;
        let error = Filters::compile(&lists.allow, &lists.deny).err()?;
        let (_, flag, value) = given;
        Some(UsageError::value(value, &flag.typed(), error.reason))
    })
}
