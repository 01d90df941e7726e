//! SQL over flows, live and from history: tables, functions, limits and how complete an answer is.
#![forbid(unsafe_code)]

pub mod examples;
pub mod functions;
pub mod views;
