//! The kernel side of Parallax.
//!
//! The binary `probes` of this crate holds the eBPF programs; it is built for `bpfel-unknown-none` by the observer's build
//! script. This library is what both sides share: the layout of the events ([`event`]) and the header parser ([`parse`]).
//! A packet reaches the programs as an `sk_buff`; its first bytes are copied into a [`parse::Frame`], parsed into
//! [`event::PacketHeaders`], and leave in an [`event::Event`] through the ring of the CPU it was seen on.
//!
//! ```
//! use bpf_probes::event::{Outer, PacketHeaders};
//! use bpf_probes::parse::{Link, Rejected, parse};
//!
//! let mut frame = [0; 320];
//! frame[12..14].copy_from_slice(&[0x08, 0x06]); // ARP
//! let (mut headers, mut inner, mut outer) = (PacketHeaders::default(), PacketHeaders::default(), Outer::default());
//! assert_eq!(parse(&frame, 42, Link::Ethernet, &mut headers, &mut inner, &mut outer), Err(Rejected::NotIp));
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod capture_filter;
pub mod event;
pub mod http;
pub mod parse;
pub mod tcp;
