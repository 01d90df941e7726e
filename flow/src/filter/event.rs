//! The event itself: what kind it is, what became of the packet, where it was seen.

use arrow_array::Array;
use arrow_array::types::{Int32Type, UInt8Type, UInt64Type};
use arrow_buffer::BooleanBuffer;
use uuid::Uuid;

use super::column::{numbers, present, shared_numbers, texts};
use super::{Condition, FilterError};
use crate::api::flow::{EventTypeFilter, IpVersion, NetworkInterface, Verdict};
use crate::batch::{FlowBatch, row_uuid};
use crate::schema::Column;

/// Rows that no filter of a kind needs to look at have no condition.
fn unless_empty<T: Clone + Send + Sync + 'static>(
    values: &[T],
    condition: impl Fn(&[T], &FlowBatch) -> BooleanBuffer + Send + Sync + 'static,
) -> Option<Condition> {
    if values.is_empty() {
        return None;
    }
    let values = values.to_vec();
    Some(Box::new(move |batch, _| condition(&values, batch)))
}

pub(super) fn uuid(values: &[String]) -> Result<Option<Condition>, FilterError> {
    let parsed: Vec<(String, Option<Uuid>)> = values
        .iter()
        .map(|text| (text.clone(), Uuid::parse_str(text).ok()))
        .collect();
    if values.iter().any(String::is_empty) {
        return Err(FilterError::new(
            "uuid",
            "",
            "give the uuid of a flow, as `-o json` prints it",
        ));
    }
    Ok(unless_empty(&parsed, |wanted, batch| {
        let told = texts(batch, Column::Uuid, |uuid| wanted.iter().any(|(text, _)| text == uuid));
        let own = present(batch, Column::Uuid);
        let derived = BooleanBuffer::collect_bool(batch.rows(), |row| {
            !own.value(row) && {
                let (log_id, sequence) = batch.row_id(row);
                let uuid = row_uuid(log_id, sequence);
                wanted.iter().any(|(_, parsed)| *parsed == Some(uuid))
            }
        });
        &told | &derived
    }))
}

pub(super) fn event_type(values: &[EventTypeFilter]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        if wanted.iter().any(|filter| filter.r#type == 0 && !filter.match_sub_type) {
            return BooleanBuffer::new_set(batch.rows());
        }
        let mut marked = BooleanBuffer::new_unset(batch.rows());
        for filter in wanted {
            let mut one = match filter.r#type {
                0 => present(batch, Column::EventType),
                event_type => numbers::<Int32Type>(batch, Column::EventType, |number| number == event_type),
            };
            if filter.match_sub_type {
                one = &one & &numbers::<Int32Type>(batch, Column::EventSubType, |number| number == filter.sub_type);
            }
            marked = &marked | &one;
        }
        marked
    })
}

/// Numbers of an enumeration that are stored as bytes; 0 is stored as null except for verdicts.
fn enumeration(column: Column, wanted: &[i32], batch: &FlowBatch) -> BooleanBuffer {
    let marked = numbers::<UInt8Type>(batch, column, |number| wanted.contains(&i32::from(number)));
    if wanted.contains(&0) {
        &marked | &!&present(batch, column)
    } else {
        marked
    }
}

pub(super) fn verdict(values: &[i32]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| enumeration(Column::Verdict, wanted, batch))
}

pub(super) fn traffic_direction(values: &[i32]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        enumeration(Column::TrafficDirection, wanted, batch)
    })
}

fn dropped(batch: &FlowBatch) -> BooleanBuffer {
    numbers::<UInt8Type>(batch, Column::Verdict, |verdict| {
        i32::from(verdict) == i32::from(Verdict::Dropped)
    })
}

pub(super) fn drop_reason(values: &[i32]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        let reason = shared_numbers(batch, Column::DropReasonApi, |reason| {
            wanted.iter().any(|wanted| u32::try_from(*wanted) == Ok(reason))
        });
        &reason & &dropped(batch)
    })
}

/// A flow that doesn't say whether it is a reply counts as none if it was dropped, and matches nothing otherwise.
pub(super) fn reply(values: &[bool]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        let known = match batch.booleans(Column::IsReply) {
            None => BooleanBuffer::new_unset(batch.rows()),
            Some(array) => BooleanBuffer::collect_bool(batch.rows(), |row| {
                array.is_valid(row) && wanted.contains(&array.value(row))
            }),
        };
        if wanted.contains(&false) {
            &known | &(&dropped(batch) & &!&present(batch, Column::IsReply))
        } else {
            known
        }
    })
}

pub(super) fn encrypted(values: &[bool]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        let is_encrypted = present(batch, Column::Encrypted);
        BooleanBuffer::collect_bool(batch.rows(), |row| wanted.contains(&is_encrypted.value(row)))
    })
}

pub(super) fn ip_version(values: &[i32]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        let wants = |version: IpVersion| wanted.contains(&i32::from(version));
        let marked = numbers::<UInt8Type>(batch, Column::IpVersion, |number| match number {
            4 => wants(IpVersion::IPv4),
            6 => wants(IpVersion::IPv6),
            _ => false,
        });
        if wants(IpVersion::IpNotUsed) {
            &marked | &!&present(batch, Column::IpVersion)
        } else {
            marked
        }
    })
}

pub(super) fn ip_trace_id(values: &[u64]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        numbers::<UInt64Type>(batch, Column::IpTraceId, |trace_id| wanted.contains(&trace_id))
    })
}

pub(super) fn trace_id(values: &[String]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        texts(batch, Column::TraceId, |trace_id| {
            wanted.iter().any(|wanted| wanted == trace_id)
        })
    })
}

pub(super) fn interface(values: &[NetworkInterface]) -> Option<Condition> {
    unless_empty(values, |wanted, batch| {
        let mut marked = BooleanBuffer::new_unset(batch.rows());
        for interface in wanted {
            let mut one = BooleanBuffer::new_set(batch.rows());
            if interface.index != 0 {
                one = &one & &shared_numbers(batch, Column::InterfaceIndex, |index| index == interface.index);
            }
            if !interface.name.is_empty() {
                one = &one & &texts(batch, Column::InterfaceName, |name| name == interface.name);
            }
            marked = &marked | &one;
        }
        marked
    })
}
