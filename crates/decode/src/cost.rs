//! What calls cost by the providers' price lists.
//!
//! The table comes with the crate `genai-prices` and needs no network. It knows list prices only: what a
//! subscription, a contract or a batch makes of them is not on the wire. A price that is not known stays
//! unknown; nothing is guessed from models with similar names.

use std::time::SystemTime;

use agentsight_model::Usage;
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
