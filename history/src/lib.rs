//! The history of flows: Parquet files in a folder or an object store, written as flows come and merged later.
#![forbid(unsafe_code)]
