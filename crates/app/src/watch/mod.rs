//! Watching: from the kernel's records to the ledger, the index and the report.

mod canary;
mod classes;
mod containers;
mod judge;
mod lineage;
mod pipeline;
mod settings;
mod watcher;

pub(crate) use pipeline::{Pipeline, PipelineOptions};
pub(crate) use watcher::{Subject, watch};
