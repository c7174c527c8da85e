//! Loads and attaches the kernel programs, reads their rings, and is the only way back into the kernel.

/// The linked object file of the kernel programs; for tests that read its BTF.
#[doc(hidden)]
pub const BPF_OBJECT_PATH: &str = env!("AGENTSIGHT_BPF_OBJECT");
