-- The index of a store. Everything in it is derived from the ledgers and can be made again from them.
--
-- Tables may change with any version; the views at the end are what queries may rely on.
-- Times are RFC 3339 in UTC, except those of `segments`, which are nanoseconds on the boot clock.

CREATE TABLE sessions (
    id              TEXT PRIMARY KEY,
    agent           TEXT NOT NULL,
    agent_version   TEXT,
    command         TEXT NOT NULL,          -- JSON array
    cwd             TEXT NOT NULL,
    user            TEXT NOT NULL,
    host            TEXT NOT NULL,
    kernel          TEXT NOT NULL,
    started_at      TEXT NOT NULL,
    ended_at        TEXT,
    exit_code       INTEGER,
    signal          INTEGER,
    status          TEXT NOT NULL,          -- running, ended, interrupted
    action_count    INTEGER NOT NULL,
    -- The state of the ledger when it was indexed. A ledger that never was in it has been rewritten.
    ledger_records  INTEGER,
    ledger_chain    TEXT,                   -- hexadecimal
    ledger_closed   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE processes (
    session     TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL,
    key         TEXT NOT NULL,              -- tgid.start_ns
    pid         INTEGER NOT NULL,
    parent_key  TEXT,
    exe         TEXT NOT NULL,
    argv        TEXT NOT NULL,              -- JSON array
    cwd         TEXT NOT NULL,
    uid         INTEGER NOT NULL,
    started_at  TEXT NOT NULL,
    ended_at    TEXT,
    exit_code   INTEGER,
    signal      INTEGER,
    container   TEXT,
    PRIMARY KEY (session, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX processes_by_key ON processes (session, key);
CREATE INDEX processes_by_parent ON processes (session, parent_key);

CREATE TABLE llm_calls (
    session                      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    ordinal                      INTEGER NOT NULL,
    id                           TEXT NOT NULL,
    provider                     TEXT NOT NULL,
    api                          TEXT NOT NULL,
    model                        TEXT,
    operation                    TEXT NOT NULL,
    process                      TEXT NOT NULL,
    endpoint                     TEXT NOT NULL,
    transport                    TEXT NOT NULL,
    status                       INTEGER,   -- of HTTP
    started_at                   TEXT NOT NULL,
    ttft_ms                      REAL,
    duration_ms                  REAL NOT NULL,
    complete                     INTEGER NOT NULL,
    finish_reasons               TEXT NOT NULL, -- JSON array
    input_tokens                 INTEGER,
    output_tokens                INTEGER,
    cache_read_input_tokens      INTEGER,
    cache_creation_input_tokens  INTEGER,
    reasoning_output_tokens      INTEGER,
    cost_usd                     REAL,
    error_kind                   TEXT,
    error_message                TEXT,
    request_bytes                INTEGER NOT NULL,
    response_bytes               INTEGER NOT NULL,
    prompt_preview               TEXT NOT NULL,
    answer_preview               TEXT NOT NULL,
    PRIMARY KEY (session, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE tool_calls (
    session            TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    ordinal            INTEGER NOT NULL,
    id                 TEXT NOT NULL,
    name               TEXT NOT NULL,
    kind               TEXT NOT NULL,
    llm_call           TEXT NOT NULL,
    requested_at       TEXT NOT NULL,
    finished_at        TEXT,
    status             TEXT NOT NULL,       -- ok, error, pending
    arguments_preview  TEXT NOT NULL,
    result_preview     TEXT,
    PRIMARY KEY (session, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX tool_calls_by_id ON tool_calls (session, id);

-- Which actions a tool call caused. The actions themselves are in the ledger.
CREATE TABLE links (
    session      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    ordinal      INTEGER NOT NULL,
    tool_call    TEXT NOT NULL,
    action       TEXT NOT NULL,
    action_kind  TEXT NOT NULL,
    action_time  TEXT NOT NULL,
    process      TEXT NOT NULL,
    intent       TEXT NOT NULL,             -- stated, implied, unstated, none
    confidence   REAL,
    evidence     TEXT NOT NULL,             -- JSON array, strongest first
    PRIMARY KEY (session, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_tool_call ON links (session, tool_call);

CREATE TABLE findings (
    session   TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    ordinal   INTEGER NOT NULL,
    id        TEXT NOT NULL,
    rule      TEXT NOT NULL,
    severity  TEXT NOT NULL,                -- info, low, medium, high, critical
    title     TEXT NOT NULL,
    time      TEXT NOT NULL,
    process   TEXT,
    taxonomy  TEXT NOT NULL,                -- JSON array
    verdict   TEXT,
    PRIMARY KEY (session, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX findings_by_rule ON findings (rule);

-- Where in which segment of the ledger the raw events lie.
CREATE TABLE segments (
    session      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    segment      INTEGER NOT NULL,
    offset       INTEGER NOT NULL,          -- of a block, in the segment file
    first_seq    INTEGER NOT NULL,
    records      INTEGER NOT NULL,
    earliest_ns  INTEGER NOT NULL,
    latest_ns    INTEGER NOT NULL,
    kinds        INTEGER NOT NULL,          -- bit n: the block holds events of kind number n
    PRIMARY KEY (session, segment, offset)
) STRICT, WITHOUT ROWID;

-- One row a session: what happened in it, in numbers.
CREATE VIEW session_overview AS
SELECT s.id, s.agent, s.agent_version, s.command, s.cwd, s.user, s.host,
       s.started_at, s.ended_at, s.status, s.exit_code, s.signal,
       (SELECT count(*) FROM processes p WHERE p.session = s.id) AS processes,
       (SELECT count(*) FROM llm_calls c WHERE c.session = s.id) AS llm_calls,
       (SELECT count(*) FROM tool_calls t WHERE t.session = s.id) AS tool_calls,
       s.action_count AS actions,
       (SELECT count(*) FROM findings f WHERE f.session = s.id) AS findings,
       (SELECT sum(c.input_tokens) FROM llm_calls c WHERE c.session = s.id) AS input_tokens,
       (SELECT sum(c.output_tokens) FROM llm_calls c WHERE c.session = s.id) AS output_tokens,
       (SELECT sum(c.cost_usd) FROM llm_calls c WHERE c.session = s.id) AS cost_usd
FROM sessions s;

-- One row a session, provider and model: calls, tokens, cost and latency.
CREATE VIEW model_usage AS
SELECT session, provider, model,
       count(*) AS calls,
       sum(complete = 0) AS incomplete_calls,
       sum(error_kind IS NOT NULL) AS failed_calls,
       sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens,
       sum(cache_read_input_tokens) AS cache_read_input_tokens,
       sum(cache_creation_input_tokens) AS cache_creation_input_tokens,
       sum(reasoning_output_tokens) AS reasoning_output_tokens,
       sum(cost_usd) AS cost_usd,
       avg(ttft_ms) AS mean_ttft_ms,
       max(duration_ms) AS max_duration_ms
FROM llm_calls
GROUP BY session, provider, model;

-- One row a session and tool: calls, failures, and the actions that they caused.
CREATE VIEW tool_usage AS
SELECT t.session, t.name, t.kind,
       count(*) AS calls,
       sum(t.status = 'error') AS failed_calls,
       sum(t.status = 'pending') AS pending_calls,
       sum((SELECT count(*) FROM links l WHERE l.session = t.session AND l.tool_call = t.id)) AS actions
FROM tool_calls t
GROUP BY t.session, t.name, t.kind;

-- One row an action that a tool call caused, with the call and why the two are joined.
CREATE VIEW tool_actions AS
SELECT l.session, l.tool_call, t.name AS tool, t.arguments_preview, l.action, l.action_kind,
       l.action_time, l.process, l.intent, l.confidence, l.evidence
FROM links l
LEFT JOIN tool_calls t ON t.session = l.session AND t.id = l.tool_call;

-- One row a process, with its depth below the session's first processes.
-- Parents come from the ledger and may be made up: the depth is bounded, so that a circle ends.
CREATE VIEW process_tree AS
WITH RECURSIVE tree (session, key, depth) AS (
    SELECT p.session, p.key, 0 FROM processes p
    WHERE NOT EXISTS (
        SELECT 1 FROM processes q WHERE q.session = p.session AND q.key = p.parent_key
    )
    UNION
    SELECT p.session, p.key, tree.depth + 1
    FROM tree JOIN processes p ON p.session = tree.session AND p.parent_key = tree.key
    WHERE tree.depth < 200
)
SELECT p.session, p.key, p.pid, p.parent_key, min(tree.depth) AS depth, p.exe, p.argv, p.cwd,
       p.uid, p.started_at, p.ended_at, p.exit_code, p.signal
FROM tree JOIN processes p ON p.session = tree.session AND p.key = tree.key
GROUP BY p.session, p.ordinal;

-- One row a session and rule that fired.
CREATE VIEW finding_counts AS
SELECT session, rule, severity, count(*) AS findings, min(time) AS first_at, max(time) AS last_at
FROM findings
GROUP BY session, rule, severity;
