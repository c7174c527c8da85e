//! What tests and `agentsight demo` need besides AgentSight itself: something to watch.
//!
//! - [`ModelServer`] plays a model by a [`Script`], on loopback, over real TLS, in the dialects that agents
//!   speak, and writes down what it received and sent ([`Exchange`]), so that a capture can be checked
//!   against known truth, byte for byte;
//! - [`Demo`] puts a small real agent and a scenario next to such a server, in a workspace of its own;
//! - [`EventBuilder`] makes sequences of events for unit tests of the later stages.
//!
//! Nothing here needs root, a network beyond loopback, or a key. The server takes requests from anyone on
//! this machine: it bounds what it reads and keeps.
//!
//! ```
//! use agentsight_testkit::{ModelServer, Script, ToolRequest, Turn};
//!
//! let server = ModelServer::start(Script::new([
//!     Turn::text("I look around.").tool(ToolRequest::shell("ls")),
//!     Turn::text("Nothing here."),
//! ]))?;
//! assert!(server.url().starts_with("https://127.0.0.1:"));
//! assert!(server.truth().is_empty());
//! # Ok::<(), agentsight_testkit::TestkitError>(())
//! ```

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
        clippy::indexing_slicing
    )
)]

mod demo;
mod dialect;
mod error;
mod event;
mod script;
mod server;
mod truth;

pub use demo::{Demo, DemoOptions, Owner};
pub use dialect::Dialect;
pub use error::TestkitError;
pub use event::EventBuilder;
pub use script::{Fault, Script, ToolRequest, Turn};
pub use server::ModelServer;
pub use truth::{Body, CalledTool, Exchange, Outcome};
