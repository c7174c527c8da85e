//! The kernel programs (`bpf/*.bpf.c`), compiled and linked into one object, with its generated skeleton.
//!
//! Nothing is written by hand here. The crate is apart from `probe` so that the Rust mirror of the wire
//! records can be generated from the object even while it is out of date and `probe` does not compile.

mod skeleton;

pub use skeleton::*;

/// The linked object file; for tools that read its type information.
pub const OBJECT_PATH: &str = env!("AGENTSIGHT_BPF_OBJECT");
