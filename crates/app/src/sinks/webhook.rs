//! Findings to a web server: one POST of JSON each.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use super::Send;
use crate::failure::{Failure, USAGE};

/// Longest time that one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts for one finding, and the time between them.
const ATTEMPTS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn sender(url: &str) -> anyhow::Result<Send> {
    let is_address = url.parse::<ureq::http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !is_address {
        let failure = Failure::new(format!("`{url}` is no address of a web server"), USAGE);
        return Err(failure.hint("such as https://example.net/hook").into());
    }
    let config = Agent::config_builder().timeout_global(Some(TIMEOUT));
    let agent = Agent::new_with_config(config.build());
    let url = url.to_owned();
    Ok(Box::new(move |finding| post(&agent, &url, finding)))
}

fn post(agent: &Agent, url: &str, finding: &Value) -> anyhow::Result<()> {
    let body = serde_json::to_vec(finding)?;
    let mut attempt = 1;
    loop {
        let request = agent.post(url).header("content-type", "application/json");
        match request.send(body.as_slice()) {
            Ok(_) => return Ok(()),
            Err(error) if attempt >= ATTEMPTS => return Err(error.into()),
            Err(_) => {
                attempt = attempt.saturating_add(1);
                std::thread::sleep(PAUSE);
            }
        }
    }
}
