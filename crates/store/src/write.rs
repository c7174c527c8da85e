//! Writes what is known of one session into the index.

use agentsight_ledger::{BlockInfo, Head};
use agentsight_model::document::{Action, Call, Finding, Process, SessionDocument, ToolCall};
use rusqlite::{Connection, Transaction, TransactionBehavior, named_params};
use serde::Serialize;

use crate::preview;

/// Replaces everything that the index has of a session, in one transaction.
pub(crate) fn replace_session(
    db: &mut Connection,
    document: &SessionDocument,
    blocks: &[BlockInfo],
    head: Option<&Head>,
) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id = &document.session.id;
    // The rows of the other tables go with it.
    transaction.execute("DELETE FROM sessions WHERE id = ?", [id])?;
    session(&transaction, document, head)?;
    rows(&transaction, id, &document.processes, process)?;
    rows(&transaction, id, &document.llm_calls, llm_call)?;
    rows(&transaction, id, &document.tool_calls, tool_call)?;
    rows(&transaction, id, &document.actions, link)?;
    rows(&transaction, id, &document.findings, finding)?;
    rows(&transaction, id, blocks, block)?;
    transaction.commit()
}

/// Writes a row for each item by `write`, which is given the session's id and the item's position.
fn rows<T>(
    transaction: &Transaction<'_>,
    session: &str,
    items: &[T],
    write: fn(&Transaction<'_>, &str, i64, &T) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    (0_i64..)
        .zip(items)
        .try_for_each(|(ordinal, item)| write(transaction, session, ordinal, item))
}

/// As SQLite has it: numbers beyond its range become its largest.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// More tokens than any call has. What a stranger's answer claims beyond that is cut, so that sums over
/// all calls stay within SQLite's range, beyond which it fails.
const MAX_TOKENS: u64 = 1_000_000_000_000;

fn tokens(value: Option<u64>) -> Option<i64> {
    value.map(|tokens| number(tokens.min(MAX_TOKENS)))
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// A list as a JSON array.
fn json<T: Serialize>(items: &[T]) -> rusqlite::Result<String> {
    serde_json::to_string(items)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn session(
    transaction: &Transaction<'_>,
    document: &SessionDocument,
    head: Option<&Head>,
) -> rusqlite::Result<()> {
    let session = &document.session;
    let sql = "INSERT INTO sessions (id, agent, agent_version, command, cwd, user, host, kernel,
                   started_at, ended_at, exit_code, signal, status, action_count,
                   ledger_records, ledger_chain, ledger_closed)
               VALUES (:id, :agent, :agent_version, :command, :cwd, :user, :host, :kernel,
                   :started_at, :ended_at, :exit_code, :signal, :status, :action_count,
                   :ledger_records, :ledger_chain, :ledger_closed)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": session.id,
        ":agent": session.agent.name,
        ":agent_version": session.agent.version,
        ":command": json(&session.command)?,
        ":cwd": session.cwd,
        ":user": session.user,
        ":host": session.host,
        ":kernel": session.kernel,
        ":started_at": session.started_at,
        ":ended_at": session.ended_at,
        ":exit_code": session.exit_code,
        ":signal": session.signal,
        ":status": session.status,
        ":action_count": count(document.actions.len()),
        ":ledger_records": head.map(|head| number(head.records)),
        ":ledger_chain": head.map(|head| head.chain.to_string()),
        ":ledger_closed": head.map(|head| head.closed),
    })?;
    Ok(())
}

fn process(
    transaction: &Transaction<'_>,
    session: &str,
    ordinal: i64,
    process: &Process,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO processes (session, ordinal, key, pid, parent_key, exe, argv, cwd, uid,
                   started_at, ended_at, exit_code, signal, container)
               VALUES (:session, :ordinal, :key, :pid, :parent_key, :exe, :argv, :cwd, :uid,
                   :started_at, :ended_at, :exit_code, :signal, :container)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":session": session,
        ":ordinal": ordinal,
        ":key": process.key.to_string(),
        ":pid": process.pid,
        ":parent_key": process.parent_key.map(|key| key.to_string()),
        ":exe": process.exe,
        ":argv": json(&process.argv)?,
        ":cwd": process.cwd,
        ":uid": process.uid,
        ":started_at": process.started_at,
        ":ended_at": process.ended_at,
        ":exit_code": process.exit_code,
        ":signal": process.signal,
        ":container": process.container,
    })?;
    Ok(())
}

fn llm_call(
    transaction: &Transaction<'_>,
    session: &str,
    ordinal: i64,
    call: &Call,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO llm_calls (session, ordinal, id, provider, api, model, operation, process,
                   endpoint, transport, status, started_at, ttft_ms, duration_ms, complete,
                   finish_reasons, input_tokens, output_tokens, cache_read_input_tokens,
                   cache_creation_input_tokens, reasoning_output_tokens, cost_usd, error_kind,
                   error_message, request_bytes, response_bytes, prompt_preview, answer_preview)
               VALUES (:session, :ordinal, :id, :provider, :api, :model, :operation, :process,
                   :endpoint, :transport, :status, :started_at, :ttft_ms, :duration_ms, :complete,
                   :finish_reasons, :input_tokens, :output_tokens, :cache_read_input_tokens,
                   :cache_creation_input_tokens, :reasoning_output_tokens, :cost_usd, :error_kind,
                   :error_message, :request_bytes, :response_bytes, :prompt_preview, :answer_preview)";
    let usage = &call.usage;
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":session": session,
        ":ordinal": ordinal,
        ":id": call.id,
        ":provider": call.provider,
        ":api": call.api,
        ":model": call.model,
        ":operation": call.operation,
        ":process": call.process.to_string(),
        ":endpoint": call.endpoint,
        ":transport": call.transport,
        ":status": call.status,
        ":started_at": call.started_at,
        ":ttft_ms": call.ttft_ms,
        ":duration_ms": finite(call.duration_ms),
        ":complete": call.complete,
        ":finish_reasons": json(&call.finish_reasons)?,
        ":input_tokens": tokens(usage.input_tokens),
        ":output_tokens": tokens(usage.output_tokens),
        ":cache_read_input_tokens": tokens(usage.cache_read_input_tokens),
        ":cache_creation_input_tokens": tokens(usage.cache_creation_input_tokens),
        ":reasoning_output_tokens": tokens(usage.reasoning_output_tokens),
        ":cost_usd": call.cost_usd,
        ":error_kind": call.error.as_ref().map(|error| &error.kind),
        ":error_message": call.error.as_ref().map(|error| preview::of_text(&error.message)),
        ":request_bytes": number(call.request.body.bytes),
        ":response_bytes": number(call.response.body.bytes),
        ":prompt_preview": preview::of_prompt(call),
        ":answer_preview": preview::of_answer(call),
    })?;
    Ok(())
}

/// SQLite takes what is not a number for NULL, which the column refuses.
fn finite(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

fn tool_call(
    transaction: &Transaction<'_>,
    session: &str,
    ordinal: i64,
    call: &ToolCall,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tool_calls (session, ordinal, id, name, kind, llm_call, requested_at,
                   finished_at, status, arguments_preview, result_preview)
               VALUES (:session, :ordinal, :id, :name, :kind, :llm_call, :requested_at,
                   :finished_at, :status, :arguments_preview, :result_preview)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":session": session,
        ":ordinal": ordinal,
        ":id": call.id,
        ":name": call.name,
        ":kind": call.kind,
        ":llm_call": call.llm_call,
        ":requested_at": call.requested_at,
        ":finished_at": call.finished_at,
        ":status": call.status,
        ":arguments_preview": preview::of_value(&call.arguments),
        ":result_preview": call.result.as_ref().map(preview::of_value),
    })?;
    Ok(())
}

/// Writes a row for an action that a tool call caused; other actions are in the ledger only.
fn link(
    transaction: &Transaction<'_>,
    session: &str,
    ordinal: i64,
    action: &Action,
) -> rusqlite::Result<()> {
    let Some(tool_call) = &action.tool_call else {
        return Ok(());
    };
    let sql = "INSERT INTO links (session, ordinal, tool_call, action, action_kind, action_time,
                   process, intent, confidence, evidence)
               VALUES (:session, :ordinal, :tool_call, :action, :action_kind, :action_time,
                   :process, :intent, :confidence, :evidence)";
    let evidence = action.link.as_ref().map_or(&[][..], |link| &link.evidence);
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":session": session,
        ":ordinal": ordinal,
        ":tool_call": tool_call,
        ":action": action.id,
        ":action_kind": action.kind,
        ":action_time": action.time,
        ":process": action.process.to_string(),
        ":intent": action.intent,
        ":confidence": action.link.as_ref().map(|link| link.confidence),
        ":evidence": json(evidence)?,
    })?;
    Ok(())
}

fn finding(
    transaction: &Transaction<'_>,
    session: &str,
    ordinal: i64,
    finding: &Finding,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO findings (session, ordinal, id, rule, severity, title, time, process,
                   taxonomy, verdict)
               VALUES (:session, :ordinal, :id, :rule, :severity, :title, :time, :process,
                   :taxonomy, :verdict)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":session": session,
        ":ordinal": ordinal,
        ":id": finding.id,
        ":rule": finding.rule,
        ":severity": finding.severity,
        ":title": finding.title,
        ":time": finding.time,
        ":process": finding.process.map(|key| key.to_string()),
        ":taxonomy": json(&finding.taxonomy)?,
        ":verdict": finding.verdict,
    })?;
    Ok(())
}

fn block(
    transaction: &Transaction<'_>,
    session: &str,
    _ordinal: i64,
    block: &BlockInfo,
) -> rusqlite::Result<()> {
    // A damaged ledger may state the same place twice; a lost row costs a search, not a record.
    let sql = "INSERT OR IGNORE INTO segments (session, segment, offset, first_seq, records,
                   earliest_ns, latest_ns, kinds)
               VALUES (:session, :segment, :offset, :first_seq, :records,
                   :earliest_ns, :latest_ns, :kinds)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":session": session,
        ":segment": block.position.segment,
        ":offset": number(block.position.offset),
        ":first_seq": number(block.first_seq),
        ":records": block.records,
        ":earliest_ns": number(block.earliest.0),
        ":latest_ns": number(block.latest.0),
        // The bits as they are: the column is a set, not a number.
        ":kinds": block.kinds.0.cast_signed(),
    })?;
    Ok(())
}
