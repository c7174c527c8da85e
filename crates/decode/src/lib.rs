//! Bytes to meaning.
//!
//! The crate turns captured plaintext into HTTP exchanges ([`http`]) and these into conversations with
//! models ([`llm`]). Everything in it is a pure function of the bytes it is given: no input or output,
//! no clock, no global state. The bytes may come from an attacker, so nothing here panics, recurses or
//! buffers without a bound.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod a2a;
pub mod cost;
pub mod dns;
pub mod http;
mod json;
pub mod llm;
pub mod mcp;
mod media;
pub mod records;
pub mod redact;
pub mod rpc;
mod text;
pub mod tls_hello;
