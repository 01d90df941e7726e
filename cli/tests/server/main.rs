//! Runs the real program against a server in this process that records what it is asked.

mod answers;
mod demo;
mod export;
mod recorder;
mod requests;
mod settings;
mod streams;
