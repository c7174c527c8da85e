//! A user's own price list: a YAML file, read before anything is watched.
//!
//! ```yaml
//! prices:
//!   - model: my-model-*        # `*` at the end: every name that begins so
//!     provider: openai         # any, if absent
//!     input: 0.50              # US dollars for a million tokens
//!     output: 1.50
//!     cache_read: 0.05         # as `input`, if absent
//!     cache_write: 0.60        # as `input`, if absent
//! ```

use agentsight_model::ModelPrice;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::yaml::{self, FileError};

/// Most bytes of a price list.
pub const MAX_PRICES_BYTES: u64 = 1 << 20;

/// Most lines of a price list: it is looked through for each call.
const MAX_PRICES: usize = 1000;

/// Dearer tokens, in US dollars for a million, are a mistake.
const MAX_USD: f64 = 1_000_000.0;

/// Longest name of a model or provider, in bytes.
const MAX_NAME_BYTES: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceList {
    prices: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    model: Name,
    #[serde(default)]
    provider: Option<Name>,
    input: Usd,
    output: Usd,
    #[serde(default)]
    cache_read: Option<Usd>,
    #[serde(default)]
    cache_write: Option<Usd>,
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let message = format!("a name has 1 to {MAX_NAME_BYTES} bytes");
            return Err(de::Error::custom(message));
        }
        Ok(Self(name))
    }
}

struct Usd(f64);

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let usd = f64::deserialize(deserializer)?;
        if !(0.0..=MAX_USD).contains(&usd) {
            let message = format!("a price is from 0 to {MAX_USD} US dollars for a million tokens");
            return Err(de::Error::custom(message));
        }
        Ok(Self(usd))
    }
}

/// Reads a price list.
///
/// # Errors
/// If it is no YAML, says what is not known, or has prices or names that cannot be: with the line.
pub fn parse_prices(text: &str) -> Result<Vec<ModelPrice>, FileError> {
    let list: PriceList = yaml::parse(text)?;
    if list.prices.len() > MAX_PRICES {
        return Err(FileError::of(format!("more than {MAX_PRICES} prices")));
    }
    let price = |line: Line| ModelPrice {
        model: line.model.0,
        provider: line.provider.map(|name| name.0),
        input: line.input.0,
        output: line.output.0,
        cache_read: line.cache_read.map(|usd| usd.0),
        cache_write: line.cache_write.map(|usd| usd.0),
    };
    Ok(list.prices.into_iter().map(price).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_or_its_mistake_is_named_with_the_line() {
        let good = "prices:\n  - model: m-*\n    input: 0.5\n    output: 2\n    cache_read: 0.05\n";
        let prices = parse_prices(good).unwrap();
        assert_eq!((prices.len(), prices[0].cache_read), (1, Some(0.05)));
        for (text, line) in [
            ("prices:\n  - model: m\n    input: -1\n    output: 2\n", 3),
            ("prices:\n  - model: m\n    input: .nan\n    output: 2\n", 3),
            ("prices:\n  - model: m\n    input: 1\n    output: x\n", 4),
            ("prices:\n  - model: m\n    inputs: 1\n    output: 2\n", 3),
            ("prices:\n  - model: ''\n    input: 1\n    output: 2\n", 2),
            ("prices: [\n", 1),
        ] {
            let error = parse_prices(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{text}: {error}");
        }
        assert!(parse_prices("").is_err());
    }
}
