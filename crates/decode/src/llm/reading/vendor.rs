//! Who serves a dialect: many servers speak one that another company made.
//!
//! The host tells, for the providers' own. Behind a gateway or on a machine of one's own, header fields
//! and the fields that a server adds to the dialect do. Names are values of `gen_ai.provider.name`; for
//! servers that the conventions have no name for, their own.

use serde_json::{Map, Value};

use super::draft::Draft;
use crate::http::{Exchange, Headers};

/// Hosts, or ends of them.
const HOSTS: &[(&str, &str)] = &[
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.fireworks.ai", "fireworks"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.together.xyz", "together"),
    ("api.x.ai", "x_ai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("openrouter.ai", "openrouter"),
    ("services.ai.azure.com", "azure.ai.inference"),
];

/// Beginnings of names of header fields of the answer.
const FIELDS: &[(&str, &str)] = &[
    ("apim-request-id", "azure.ai.openai"),
    ("azureml-model-", "azure.ai.openai"),
    ("mistral-correlation-id", "mistral_ai"),
    ("x-amzn-bedrock-", "aws.bedrock"),
    ("x-ds-trace-id", "deepseek"),
    ("x-groq-", "groq"),
    ("x-litellm-", "litellm"),
];

/// Fields beside the choices of an answer, or of a piece of one.
const SIGNS: &[(&str, &str)] = &[
    ("kv_transfer_params", "vllm"),
    ("prompt_filter_results", "azure.ai.openai"),
    ("prompt_logprobs", "vllm"),
    ("prompt_token_ids", "vllm"),
    ("search_results", "perplexity"),
    ("timings", "llama_cpp"),
    ("x_groq", "groq"),
];

/// Fields of a provider's counts.
const COUNTS: &[(&str, &str)] = &[
    ("cost_details", "openrouter"),
    ("cost_in_usd_ticks", "x_ai"),
    ("num_sources_used", "x_ai"),
    ("prompt_audio_seconds", "mistral_ai"),
    ("prompt_cache_hit_tokens", "deepseek"),
    ("queue_time", "groq"),
    ("search_context_size", "perplexity"),
];

/// Parameters of a request that only one server takes.
const PARAMETERS: &[(&str, &str)] = &[
    ("prompt_mode", "mistral_ai"),
    ("safe_prompt", "mistral_ai"),
    ("search_parameters", "x_ai"),
];

/// The provider of a call, if it is not the maker of its dialect.
pub(crate) fn of(exchange: &Exchange, draft: &Draft) -> Option<&'static str> {
    let response = exchange.response.as_ref();
    at(exchange.host())
        .or_else(|| by_field(&response?.headers))
        .or_else(|| by_path(exchange.path()))
        .or(draft.vendor)
        .or_else(|| named_in(&draft.request.parameters, PARAMETERS))
}

/// The provider that fields of an answer tell: those beside the choices, and its counts.
pub(crate) fn by_shape(body: &Map<String, Value>) -> Option<&'static str> {
    // Only OpenRouter says which of its providers it was, and what that cost.
    let counts = body.get("usage").and_then(Value::as_object);
    let routed = body.get("provider").is_some_and(Value::is_string);
    named_in(body, SIGNS)
        .or_else(|| named_in(counts?, COUNTS))
        .or_else(|| routed.then_some("openrouter"))
}

/// Keeps what a gateway says about an answer in its header fields.
pub(crate) fn keep_fields(exchange: &Exchange, draft: &mut Draft) {
    const SAID: [&str; 2] = ["x-litellm-response-cost", "x-litellm-model-api-base"];
    let Some(response) = &exchange.response else {
        return;
    };
    for name in SAID {
        if let Some(value) = response.headers.get(name) {
            let extra = &mut draft.response.extra;
            extra.insert(name.to_owned(), value.into());
        }
    }
}

fn named_in(map: &Map<String, Value>, table: &[(&str, &'static str)]) -> Option<&'static str> {
    let found = table.iter().find(|(key, _)| map.contains_key(*key));
    found.map(|(_, vendor)| *vendor)
}

fn by_field(headers: &Headers) -> Option<&'static str> {
    let begins = |name: &str, own: &str| {
        let start = name.get(..own.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(own))
    };
    headers.iter().find_map(|(name, value)| {
        if begins(name, "server") && begins(value, "llama.cpp") {
            return Some("llama_cpp");
        }
        let found = FIELDS.iter().find(|(own, _)| begins(name, own));
        found.map(|(_, vendor)| *vendor)
    })
}

/// Paths that gateways keep.
fn by_path(path: &str) -> Option<&'static str> {
    if path.contains("/openai/deployments/") {
        return Some("azure.ai.openai");
    }
    let (_, rest) = path.rsplit_once("/model/")?;
    let (model, operation) = rest.split_once('/')?;
    let of_bedrock = operation.starts_with("invoke") || operation.starts_with("converse");
    (of_bedrock && !model.is_empty()).then_some("aws.bedrock")
}

/// The provider whose host that is.
fn at(host: &str) -> Option<&'static str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.to_ascii_lowercase();
    // Its region stands in the middle.
    if name.starts_with("bedrock-runtime") && name.ends_with(".amazonaws.com") {
        return Some("aws.bedrock");
    }
    let found = HOSTS.iter().find(|(own, _)| {
        name.strip_suffix(own)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '-']))
    });
    found.map(|(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::into_object;
    use super::*;

    #[test]
    fn hosts_tell_who_serves_a_dialect() {
        for (host, expected) in [
            ("api.groq.com", Some("groq")),
            (
                "us-central1-aiplatform.googleapis.com:443",
                Some("gcp.vertex_ai"),
            ),
            ("my.openai.azure.com", Some("azure.ai.openai")),
            (
                "bedrock-runtime.eu-west-1.amazonaws.com",
                Some("aws.bedrock"),
            ),
            ("notapi.x.ai", None),
            ("127.0.0.1:8443", None),
        ] {
            assert_eq!(at(host), expected, "{host}");
        }
    }

    #[test]
    fn paths_tell_who_serves_a_dialect() {
        for (path, expected) in [
            (
                "/openai/deployments/d/chat/completions",
                Some("azure.ai.openai"),
            ),
            ("/gateway/model/m/converse-stream", Some("aws.bedrock")),
            ("/model//invoke", None),
            ("/v1/model/m", None),
            ("/v1/chat/completions", None),
        ] {
            assert_eq!(by_path(path), expected, "{path}");
        }
    }

    #[test]
    fn fields_of_an_answer_tell_who_serves_a_dialect() {
        for (body, expected) in [
            (json!({"x_groq": {"id": "r"}}), Some("groq")),
            (
                json!({"usage": {"prompt_cache_hit_tokens": 0}}),
                Some("deepseek"),
            ),
            (json!({"timings": {"prompt_n": 1}}), Some("llama_cpp")),
            (json!({"prompt_logprobs": null}), Some("vllm")),
            (json!({"provider": "DeepInfra"}), Some("openrouter")),
            (json!({"usage": {"prompt_tokens": 1}}), None),
        ] {
            assert_eq!(by_shape(&into_object(body.clone())), expected, "{body}");
        }
        let mut headers = Headers::default();
        headers.push("X-LiteLLM-Model-Id", "1");
        assert_eq!(by_field(&headers), Some("litellm"));
        let mut headers = Headers::default();
        headers.push("Server", "llama.cpp");
        assert_eq!(by_field(&headers), Some("llama_cpp"));
    }

    #[test]
    fn tables_are_in_order() {
        for table in [HOSTS, FIELDS, SIGNS, COUNTS, PARAMETERS] {
            assert!(table.is_sorted());
        }
    }
}
