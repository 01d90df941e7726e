//! The same SQL on several machines: scheduler and executors of the distributed engine with our tables and functions.
#![forbid(unsafe_code)]
