//! What calls cost, and the sums of it: by turn, conversation, tool call, agent, model and session.

use std::collections::HashMap;

use agentsight_decode::cost::{PRICE_TABLE, list_price_usd, own_price_usd};
use agentsight_model::document::{Agent, Call, Cost, SessionDocument};
use agentsight_model::{LlmCall, ModelPrice, ProcessKey};

use super::SessionGraph;
use super::document::Clock;

/// The price of a call by the model that answered, and whether it is of the user's own list. Clouds list
/// their prices by the names that are asked for, while the answer bears the maker's own.
pub(super) fn price_of(call: &LlmCall, own: &[ModelPrice], clock: Clock) -> Option<(f64, bool)> {
    let made = clock.system_time(call.started);
    let names = || [&call.model, &call.request_model].into_iter().flatten();
    let by_own = |model: &String| own_price_usd(own, &call.provider, model, &call.usage);
    let by_table = |model: &String| list_price_usd(&call.provider, model, &call.usage, made);
    let own = names().find_map(by_own).map(|usd| (usd, true));
    own.or_else(|| names().find_map(by_table).map(|usd| (usd, false)))
}

/// Writes prices into a document.
pub(super) fn add(document: &mut SessionDocument, graph: &SessionGraph, clock: Clock) {
    let start = graph.start.as_ref().map(|(_, start)| start);
    let own = start.map_or(&[][..], |start| &start.prices);
    let recorded = start.map_or("", |start| &start.price_table);
    let by_id: HashMap<&str, &LlmCall> = graph
        .calls
        .all()
        .iter()
        .map(|stored| (stored.call.id.as_str(), &stored.call))
        .collect();
    let mut cost = Cost {
        price_table: PRICE_TABLE.to_owned(),
        recorded_price_table: (!recorded.is_empty() && recorded != PRICE_TABLE)
            .then(|| recorded.to_owned()),
        ..Cost::default()
    };
    let mut agents: HashMap<ProcessKey, &str> = HashMap::new();
    // A server that talks to a model is an agent, too.
    let talks = |agent: &&Agent| agent.kind == Agent::AGENT;
    for agent in document.agents.iter().filter(talks) {
        agents.extend(agent.processes.iter().map(|key| (*key, agent.id.as_str())));
    }
    for call in &mut document.llm_calls {
        let price = by_id
            .get(call.id.as_str())
            .and_then(|stored| price_of(stored, own, clock));
        call.cost_usd = price.map(|(usd, _)| usd);
        match price {
            Some(price) => add_call(&mut cost, call, price, agents.get(&call.process)),
            None => cost.unpriced_calls = cost.unpriced_calls.saturating_add(1),
        }
    }
    document.cost = cost;
    add_tool_calls(document);
}

fn add_call(cost: &mut Cost, call: &Call, (usd, is_own): (f64, bool), agent: Option<&&str>) {
    cost.priced_calls = cost.priced_calls.saturating_add(1);
    let estimated = u64::from(call.usage.estimated);
    cost.estimated_calls = cost.estimated_calls.saturating_add(estimated);
    cost.own_price_calls = cost.own_price_calls.saturating_add(u64::from(is_own));
    *cost.usd.get_or_insert(0.0) += usd;
    if let Some(agent) = agent {
        *cost.by_agent.entry((*agent).to_owned()).or_default() += usd;
    }
    if let Some(model) = &call.model {
        *cost.by_model.entry(model.clone()).or_default() += usd;
    }
    if let Some(thread) = &call.thread {
        let turns = cost.by_conversation.entry(thread.conversation.clone());
        *turns.or_default().entry(thread.turn).or_default() += usd;
    }
}

/// Gives each tool call its share of the call that asked for it, and what its sub-agent cost.
fn add_tool_calls(document: &mut SessionDocument) {
    let mut asked: HashMap<&str, f64> = HashMap::new();
    for tool in &document.tool_calls {
        *asked.entry(tool.llm_call.as_str()).or_default() += 1.0;
    }
    let mut shares: HashMap<String, f64> = HashMap::new();
    let mut below: HashMap<&str, f64> = HashMap::new();
    for call in &document.llm_calls {
        let Some(usd) = call.cost_usd else { continue };
        if let Some(count) = asked.get(call.id.as_str()) {
            shares.insert(call.id.clone(), usd / count);
        }
        let parent = call.thread.as_ref();
        if let Some(parent) = parent.and_then(|thread| thread.parent_tool_call.as_deref()) {
            *below.entry(parent).or_default() += usd;
        }
    }
    for tool in &mut document.tool_calls {
        let parts = [
            shares.get(&tool.llm_call).copied(),
            below.get(tool.id.as_str()).copied(),
        ];
        tool.cost_usd = parts
            .into_iter()
            .flatten()
            .reduce(|share, below| share + below);
    }
}
