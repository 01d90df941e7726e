//! The terminal viewer: what it knows, how that looks, and what keys do.
//!
//! It has no connection of its own. Somebody brings [`news::News`]: batches of flows, losses, the state of nodes and of the
//! connection. They go into a [`state::State`], which keeps the newest flows within bounds and what follows from them: rates,
//! drops by reason, connections, who talks to whom. A key becomes an action of the [`app::App`], which changes what is shown,
//! or asks its owner for an [`app::Effect`]: another filter, a question in SQL, something for the clipboard. [`view`] draws all
//! of it into a frame, and changes nothing but what is only known there, such as how many lines there is room for.
//!
//! Time comes in from outside, as does everything else: a screen is the same each time it is drawn.
//!
//! ```
//! use flow::{builder::FlowBatchBuilder, record::FlowRecord};
//! use ratatui::{Terminal, backend::TestBackend};
//! use top::{app::{App, Settings}, news::News, view};
//!
//! let mut app = App::new(Settings::default());
//! let mut builder = FlowBatchBuilder::new(1, 0);
//! builder.append(&FlowRecord { time_ns: 1_700_000_000_000_000_000, verdict: 2, ..Default::default() });
//! app.hear(News::flows(builder.seal().expect("one row")), 1_700_000_000_000_000_000);
//!
//! let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal in memory");
//! terminal.draw(|frame| view::draw(frame, &mut app)).expect("nothing can fail in memory");
//! assert!(terminal.backend().to_string().contains("DROPPED"));
//! ```
#![forbid(unsafe_code)]

pub mod app;
pub mod columns;
pub mod end;
pub mod input;
pub mod line_editor;
pub mod news;
pub mod row;
pub mod screen;
pub mod sequence;
pub mod service_map;
pub mod state;
pub mod theme;
pub mod units;
pub mod view;
pub mod width;
