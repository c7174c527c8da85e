//! Rules over what agents do: a language, an engine, and the pack that comes with the product.
//!
//! ```text
//! rules/*.yaml ─► parse (positions) ─► check against the vocabulary ─► RuleSet ─┐
//! ledger events, in order ─────────────────────────────────────► Engine::observe ┴─► findings
//! ```
//!
//! [`RuleSet::load`] turns texts into a compiled set or into [`Diagnostic`]s with file, line, column and a
//! proposal. [`Engine`] is a pure function of the events it is given, in ledger order: it knows no clock, no
//! file and no randomness, so a replay finds what the live session found. Rules are written by people who are
//! trusted; events are not: every table of the engine is bounded by [`Limits`], and what is dropped is counted.
//!
//! The only effect of a rule is a finding. `deny`, `kill`, `freeze` and `ask` are part of the language and are
//! not carried out: whoever runs the engine must say so ([`RuleSet::stronger_effects`]).
//!
//! ```
//! use agentsight_policy::{Engine, RuleSet, Source};
//! use agentsight_testkit::EventBuilder;
//!
//! let text = "
//! id: shadow-read
//! title: the password file was read
//! severity: high
//! on: file.read
//! match: { path: /etc/shadow }
//! ";
//! let rules = RuleSet::load([Source::new("shadow.yaml", text)]).unwrap();
//! let mut engine = Engine::new(rules.into());
//! let mut builder = EventBuilder::new();
//! builder.exec(7, &["cat", "/etc/shadow"]).open_read(7, "/etc/shadow");
//! let findings: Vec<_> = (0..).zip(builder.build()).flat_map(|(seq, event)| engine.observe(seq, &event)).collect();
//! assert_eq!(findings[0].finding.rule, "shadow-read");
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

mod anchor;
mod compile;
pub mod corpus;
mod diagnostic;
mod engine;
mod expr;
mod field;
mod kind;
mod matcher;
mod pack;
mod pattern;
pub mod reference;
mod rule;
mod scenario;
mod view;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use engine::{Counters, Engine, Found, Limits};
pub use pack::default_pack;
pub use rule::{Effect, Rule, RuleSet, Source};
pub use scenario::{TestResult, run_tests};
