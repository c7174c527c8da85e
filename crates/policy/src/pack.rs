//! The rules that come with the product: every file of `rules/`.

use crate::rule::Source;

include!(concat!(env!("OUT_DIR"), "/pack.rs"));

/// The files of the default pack, as layer 0.
pub fn default_pack() -> impl Iterator<Item = Source> {
    FILES
        .iter()
        .map(|(name, text)| Source::new(format!("rules/{name}"), *text))
}
