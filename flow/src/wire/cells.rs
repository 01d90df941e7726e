//! Columns as a row encoder reads them: looked up and taken apart once.

use arrow_array::types::{ArrowPrimitiveType, Int32Type, TimestampNanosecondType, UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, BooleanArray};
use arrow_buffer::{ArrowNativeType, NullBuffer, ScalarBuffer};

use crate::batch::FlowBatch;
use crate::schema::Column;

/// Numbers of a column; a column that isn't there has none.
#[derive(Debug)]
pub(super) struct Cells<T: ArrowNativeType> {
    values: ScalarBuffer<T>,
    nulls: Option<NullBuffer>,
}

impl<T: ArrowNativeType> Cells<T> {
    pub(super) fn new<A: ArrowPrimitiveType<Native = T>>(batch: &FlowBatch, column: Column) -> Self {
        match batch.numbers::<A>(column) {
            Some(array) => Self {
                values: array.values().clone(),
                nulls: array.nulls().cloned(),
            },
            None => Self {
                values: Vec::new().into(),
                nulls: None,
            },
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T> {
        let value = *self.values.get(row)?;
        match &self.nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(value),
        }
    }
}

/// Numbers of a column that are stored once a batch; a column that isn't there has none.
#[derive(Debug)]
pub(super) struct SharedCells<T: ArrowNativeType> {
    keys: Cells<u16>,
    values: Vec<T>,
}

impl<T: ArrowNativeType> SharedCells<T> {
    pub(super) fn new<A: ArrowPrimitiveType<Native = T>>(batch: &FlowBatch, column: Column) -> Self {
        match batch.shared::<A>(column) {
            Some(shared) => Self {
                keys: Cells {
                    values: shared.keys().values().clone(),
                    nulls: shared.keys().nulls().cloned(),
                },
                values: shared.values().values().to_vec(),
            },
            None => Self {
                keys: Cells {
                    values: Vec::new().into(),
                    nulls: None,
                },
                values: Vec::new(),
            },
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T> {
        self.values.get(usize::from(self.keys.get(row)?)).copied()
    }
}

/// Booleans of a column.
#[derive(Debug)]
pub(super) struct Bits(Option<BooleanArray>);

impl Bits {
    pub(super) fn new(batch: &FlowBatch, column: Column) -> Self {
        Self(batch.booleans(column).cloned())
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<bool> {
        let array = self.0.as_ref()?;
        array.is_valid(row).then(|| array.value(row))
    }
}

/// Values of `N` bytes of a column.
#[derive(Debug)]
pub(super) struct Fixed<const N: usize> {
    values: arrow_buffer::Buffer,
    nulls: Option<NullBuffer>,
}

impl<const N: usize> Fixed<N> {
    pub(super) fn new(batch: &FlowBatch, column: Column) -> Self {
        match batch.addresses(column) {
            Some(array) => Self {
                values: array.values().clone(),
                nulls: array.nulls().cloned(),
            },
            None => Self {
                values: arrow_buffer::Buffer::from_vec(Vec::<u8>::new()),
                nulls: None,
            },
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<[u8; N]> {
        let (values, _) = self.values.as_slice().as_chunks::<N>();
        let value = *values.get(row)?;
        match &self.nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(value),
        }
    }
}

/// The columns that are fields of `flow.Flow` as they are.
#[derive(Debug)]
pub(super) struct Columns {
    time: Cells<i64>,
    pub(super) verdict: Cells<u8>,
    pub(super) flow_type: Cells<u8>,
    pub(super) event_type: Cells<i32>,
    pub(super) event_sub_type: Cells<i32>,
    pub(super) traffic_direction: Cells<u8>,
    pub(super) observation_point: Cells<u8>,
    pub(super) trace_reason: Cells<u8>,
    pub(super) is_reply: Bits,
    pub(super) policy_match_type: Cells<u32>,
    pub(super) cgroup_id: SharedCells<u64>,
    pub(super) socket_cookie: Cells<u64>,
    pub(super) ip_trace_id: Cells<u64>,
    pub(super) l7_type: Cells<u8>,
    whole: Option<arrow_array::ArrayRef>,
}

impl Columns {
    pub(super) fn new(batch: &FlowBatch) -> Self {
        let byte = |column| Cells::new::<UInt8Type>(batch, column);
        let long = |column| Cells::new::<UInt64Type>(batch, column);
        Self {
            time: Cells::new::<TimestampNanosecondType>(batch, Column::Time),
            verdict: byte(Column::Verdict),
            flow_type: byte(Column::FlowType),
            event_type: Cells::new::<Int32Type>(batch, Column::EventType),
            event_sub_type: Cells::new::<Int32Type>(batch, Column::EventSubType),
            traffic_direction: byte(Column::TrafficDirection),
            observation_point: byte(Column::ObservationPoint),
            trace_reason: byte(Column::TraceReason),
            is_reply: Bits::new(batch, Column::IsReply),
            policy_match_type: Cells::new::<UInt32Type>(batch, Column::PolicyMatchType),
            cgroup_id: SharedCells::new::<UInt64Type>(batch, Column::CgroupId),
            socket_cookie: long(Column::SocketCookie),
            ip_trace_id: long(Column::IpTraceId),
            l7_type: byte(Column::L7Type),
            whole: batch.column(Column::Rest).cloned(),
        }
    }

    /// Nanoseconds since the Unix epoch.
    #[inline]
    pub(super) fn time_ns(&self, row: usize) -> i64 {
        self.time.get(row).unwrap_or_default()
    }

    /// Whether the row keeps a whole flow.
    #[inline]
    pub(super) fn whole(&self, row: usize) -> bool {
        self.whole.as_ref().is_some_and(|rest| rest.is_valid(row))
    }
}
