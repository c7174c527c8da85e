//! The skeleton that libbpf-cargo generates from the linked object.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    dead_code,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

include!(concat!(env!("OUT_DIR"), "/agentsight.skel.rs"));
