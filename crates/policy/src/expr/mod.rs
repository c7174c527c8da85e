//! Conditions: a subset of the Common Expression Language (CEL), compiled to typed predicates.
//!
//! The subset has the literals `true`, `false`, integers and strings, lists of them, the facts of
//! [`crate::field`], `! - + - * / % == != < <= > >= in && || ?:`, the functions `size`, `contains`,
//! `startsWith`, `endsWith`, `matches`, the macros `exists`, `all` and `exists_one` over lists of strings, and
//! three functions that CEL does not have: `glob`, `inCidr` and `lowerAscii`. What it has means what the CEL
//! specification says, errors included: `false && error` is false. A differential test against the `cel`
//! crate holds it to that.
//!
//! Types are checked when a rule is loaded, so that evaluation looks at no types and names at all.

mod check;
#[cfg(test)]
mod differential;
mod eval;
mod lexer;
mod parser;

pub(crate) use check::{FUNCTIONS, Scope, compile};
pub(crate) use eval::{Compare, Pred, Text, TextTest};

use crate::diagnostic::Complaint;

/// Longest condition, in bytes.
pub(crate) const MAX_BYTES: usize = 8 << 10;
/// Deepest nesting of a condition, macros included: it is walked recursively.
pub(crate) const MAX_DEPTH: usize = 64;
/// Parts of a condition, macros included: each use of a macro is a copy of it.
pub(crate) const MAX_NODES: usize = 4096;

/// What is wrong with a condition, and at which byte of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExprError {
    pub(crate) offset: usize,
    pub(crate) complaint: Complaint,
}

impl ExprError {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            complaint: Complaint::new(message),
        }
    }
}
