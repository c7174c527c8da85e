//! What calls cost by the providers' price lists.
//!
//! The table comes with the crate `genai-prices` and needs no network. It knows list prices only: what a
//! subscription, a contract or a batch makes of them is not on the wire. A price that is not known stays
//! unknown; nothing is guessed from models with similar names.

use std::time::SystemTime;

use agentsight_model::{ModelPrice, Usage};
use genai_prices::{Calculator, PriceRequest, Usage as Counts, UsageKey};

/// Longest model name that is looked up: names are compared with patterns, and come from the wire.
const MAX_MODEL_BYTES: usize = 256;

/// Names of providers in the conventions, where the price table has another one.
const TABLE_NAMES: &[(&str, &str)] = &[
    ("aws.bedrock", "aws"),
    ("azure.ai.openai", "azure"),
    ("gcp.gemini", "google"),
    ("gcp.vertex_ai", "google"),
    ("mistral_ai", "mistral"),
    ("moonshot_ai", "moonshotai"),
    ("x_ai", "x-ai"),
];

/// Name and version of the table.
pub const PRICE_TABLE: &str = "genai-prices 0.2.1";

/// The price of a call by a user's own list, in US dollars: by the first line that fits. `None` if none
/// does, or if the token counts are missing or contradict each other.
#[must_use]
pub fn own_price_usd(
    prices: &[ModelPrice],
    provider: &str,
    model: &str,
    usage: &Usage,
) -> Option<f64> {
    usage.input_tokens.or(usage.output_tokens)?;
    let fits = |price: &&ModelPrice| {
        let named = price.provider.as_deref();
        named.is_none_or(|named| named == provider)
            && match price.model.strip_suffix('*') {
                Some(start) => model.starts_with(start),
                None => model == price.model,
            }
    };
    let price = prices.iter().find(fits)?;
    let input = usage.input_tokens.unwrap_or(0);
    let read = usage.cache_read_input_tokens.unwrap_or(0);
    let written = usage.cache_creation_input_tokens.unwrap_or(0);
    // The input includes what was read from and written to a cache.
    let plain = input.checked_sub(read)?.checked_sub(written)?;
    let items = [
        (plain, price.input),
        (read, price.cache_read.unwrap_or(price.input)),
        (written, price.cache_write.unwrap_or(price.input)),
        (usage.output_tokens.unwrap_or(0), price.output),
    ];
    // Exact up to 2^53 tokens.
    #[allow(clippy::cast_precision_loss)]
    let total: f64 = items
        .iter()
        .map(|(tokens, usd)| *tokens as f64 * usd / 1e6)
        .sum();
    total.is_finite().then_some(total)
}

/// The list price of a call, in US dollars, at the time when it was made.
///
/// `provider` is the `gen_ai.provider.name`. `None` if provider or model are not in the table, or if the
/// token counts are missing or contradict each other.
#[must_use]
pub fn list_price_usd(provider: &str, model: &str, usage: &Usage, made: SystemTime) -> Option<f64> {
    if model.is_empty() || model.len() > MAX_MODEL_BYTES {
        return None;
    }
    usage.input_tokens.or(usage.output_tokens)?;
    let named = TABLE_NAMES.iter().find(|(name, _)| *name == provider);
    let provider = named.map_or(provider, |(_, table)| *table);
    let counts = counts_of(usage);
    let price = |provider, model| {
        let request = PriceRequest::new(model, &counts)
            .with_provider_id(provider)
            .with_timestamp(made);
        let found = Calculator::bundled().calculate(&request).ok()?;
        found.total_price.is_finite().then_some(found.total_price)
    };
    // Gateways speak the dialect of one provider and name another one's model: `anthropic/claude-...`.
    price(provider, model).or_else(|| {
        let (owner, model) = model.split_once('/')?;
        price(owner, model)
    })
}

/// The counts in the table's terms, which include cached tokens in the input, as ours do.
fn counts_of(usage: &Usage) -> Counts {
    // Exact up to 2^53 tokens.
    #[allow(clippy::cast_precision_loss)]
    let known = |key, count: Option<u64>| count.map(|count| (key, count as f64));
    [
        known(UsageKey::INPUT_TOKENS, usage.input_tokens),
        known(UsageKey::CACHE_READ_TOKENS, usage.cache_read_input_tokens),
        known(
            UsageKey::CACHE_WRITE_TOKENS,
            usage.cache_creation_input_tokens,
        ),
        known(UsageKey::OUTPUT_TOKENS, usage.output_tokens),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    fn usage(input: u64, read: u64, write: u64, output: u64) -> Usage {
        Usage {
            input_tokens: Some(input),
            output_tokens: Some(output),
            cache_read_input_tokens: Some(read),
            cache_creation_input_tokens: Some(write),
            reasoning_output_tokens: None,
            ..Usage::default()
        }
    }

    fn price(provider: &str, model: &str, usage: &Usage) -> Option<f64> {
        // 2026-09-01
        let made = UNIX_EPOCH + Duration::from_secs(1_788_220_800);
        list_price_usd(provider, model, usage, made)
    }

    #[test]
    fn the_table_is_the_one_that_is_built_in() {
        let lock = include_str!("../../../Cargo.lock");
        let (name, version) = PRICE_TABLE.split_once(' ').unwrap();
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"");
        assert!(
            lock.contains(&locked),
            "PRICE_TABLE is not that of Cargo.lock"
        );
    }

    #[test]
    fn own_prices_are_those_of_the_first_line_that_fits() {
        let line = |model: &str, provider: Option<&str>, input: f64| ModelPrice {
            model: model.into(),
            provider: provider.map(str::to_owned),
            input,
            output: 10.0,
            cache_read: Some(0.1),
            cache_write: None,
        };
        let prices = [
            line("llama-*", Some("groq"), 1.0),
            line("llama-3", None, 2.0),
            line("llama-*", None, 3.0),
        ];
        let cached = usage(1_200, 1_000, 100, 80);
        for (provider, model, input) in [
            ("groq", "llama-3", Some(1.0)),
            ("openai", "llama-3", Some(2.0)),
            ("openai", "llama-3.1", Some(3.0)),
            ("openai", "gpt-4o", None),
        ] {
            let expected = input.map(|input| (200.0 * input + 1_000.0 * 0.1 + 800.0) / 1e6);
            let found = own_price_usd(&prices, provider, model, &cached);
            assert!(
                match (found, expected) {
                    (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
                    (found, expected) => found == expected,
                },
                "{provider} {model}: {found:?}, not {expected:?}"
            );
        }
        assert_eq!(
            own_price_usd(&prices, "x", "llama-3", &usage(5, 6, 0, 0)),
            None
        );
        assert_eq!(
            own_price_usd(&prices, "x", "llama-3", &Usage::default()),
            None
        );
    }

    #[test]
    fn known_models_cost_what_their_list_says() {
        let cached = usage(1_200, 1_000, 100, 80);
        let plain = usage(1_000_000, 0, 0, 0);
        for (provider, model, usage, expected) in [
            ("anthropic", "claude-sonnet-4-5", cached, 0.002_175),
            ("anthropic", "claude-sonnet-4-5-20250929", cached, 0.002_175),
            ("openai", "anthropic/claude-sonnet-4-5", cached, 0.002_175),
            ("openai", "gpt-4o", plain, 2.5),
            ("azure.ai.openai", "gpt-4o", plain, 2.5),
            ("gcp.gemini", "gemini-2.5-flash", plain, 0.3),
        ] {
            let found = price(provider, model, &usage);
            assert!(
                found.is_some_and(|found| (found - expected).abs() < 1e-9),
                "{provider} {model}: {found:?}, expected {expected}"
            );
        }
    }

    #[test]
    fn every_table_name_is_in_the_table() {
        let listed: Vec<_> = Calculator::bundled().providers().collect();
        for (_, name) in TABLE_NAMES {
            assert!(
                listed.iter().any(|provider| provider.id() == *name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_not_known_has_no_price() {
        let some = usage(10, 0, 0, 10);
        let none = Usage::default();
        let long = "x".repeat(MAX_MODEL_BYTES + 1);
        for (provider, model, usage) in [
            ("anthropic", "no-such-model", some),
            ("anthropic", "", some),
            ("openai", long.as_str(), some),
            ("ollama", "llama3.2", some),
            ("openai", "nobody/gpt-4o", some),
            ("anthropic", "claude-sonnet-4-5", none),
            // More was read from the cache than was sent.
            ("anthropic", "claude-sonnet-4-5", usage(10, 1_000, 0, 1)),
        ] {
            assert_eq!(price(provider, model, &usage), None, "{provider} {model}");
        }
    }

    proptest! {
        #[test]
        fn prices_are_never_negative(
            model in "(claude|gpt|gemini|[a-z/.:-]){1,8}[ -~]{0,40}",
            counts in any::<[u64; 4]>(),
        ) {
            let [input, read, write, output] = counts;
            for provider in ["anthropic", "openai", "gcp.gemini", "aws.bedrock", "openrouter"] {
                let found = price(provider, &model, &usage(input, read, write, output));
                prop_assert!(found.is_none_or(|found| found >= 0.0));
            }
        }
    }
}
