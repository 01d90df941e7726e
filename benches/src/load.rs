//! The load harness: what the observer costs, on real traffic between two network namespaces.
//!
//! In the order in which things happen: the [`program`](crate::load::arguments) is told what to do, describes the
//! [`machine`], and runs [`plan`]: each workload ([`udp`], [`tcp`]) without the observer and with it in turn, with the
//! real program started by [`observer`]. [`process`] reads what it takes from `/proc`, [`kernel`] what its eBPF programs
//! take from the kernel, and [`counting`] what programs would take that only count. [`latency`], [`idle`] and [`soak`]
//! are the workloads that look at other things. [`report`] turns all of it into one table and one JSON file.

pub mod arguments;
pub mod counting;
pub mod figure;
pub mod idle;
pub mod interrupt;
pub mod kernel;
pub mod latency;
pub mod machine;
pub mod observer;
pub mod percentile;
pub mod plan;
pub mod process;
pub mod report;
pub mod soak;
pub mod tcp;
pub mod traffic;
pub mod udp;
