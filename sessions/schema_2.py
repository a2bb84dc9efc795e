"""The tables of `store.db` as version 2 had them. Frozen: stores of that version lie on people's disks."""

from __future__ import annotations

TABLES = """
-- What is known of the session itself; one row.
CREATE TABLE session (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,
    cwd TEXT NOT NULL,
    additional_directories TEXT NOT NULL,   -- JSON array of paths
    client TEXT,                            -- name of the client that created it
    title TEXT,
    created_at TEXT NOT NULL,               -- all times: RFC 3339, UTC, milliseconds
    updated_at TEXT NOT NULL,
    outcome TEXT,                           -- of the last load, as in sessions.report; NULL before the first
    reason TEXT,
    head INTEGER NOT NULL DEFAULT 0,        -- the last turn of the line that the session is on, 0 before the first
    primer INTEGER REFERENCES primer (id)   -- what the live conversation was primed with, NULL if it was not
) STRICT;

-- Small values that must outlive the process, such as permission rules.
CREATE TABLE memory (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL                     -- JSON
) STRICT, WITHOUT ROWID;

-- Transcripts that a rebuilt conversation was given in its system instructions.
CREATE TABLE primer (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    turns INTEGER NOT NULL,                 -- user turns that the text carries
    text TEXT NOT NULL
) STRICT;

-- The user turns. A number is never used twice: going back to an earlier turn begins another line, and the turns
-- that were left stay. ended_at is NULL until a turn's end is known.
CREATE TABLE turn (
    turn INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,                -- the turn before it on its line, 0 before the first
    depth INTEGER NOT NULL,                 -- its place on its line, counted from 1
    started_at TEXT NOT NULL,
    ended_at TEXT,
    stop_reason TEXT,
    prompt_excerpt TEXT NOT NULL,
    input_tokens INTEGER,                   -- what the model counted; NULL if it did not say
    output_tokens INTEGER
) STRICT;

-- At most a few turns are open; whoever ends them must not look at all.
CREATE INDEX open_turn ON turn (turn) WHERE ended_at IS NULL;

-- What the client was shown, one row a message or tool call, in the order in which each began.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    turn INTEGER NOT NULL,                  -- 0 before the first turn
    kind TEXT NOT NULL,
    key BLOB NOT NULL,                      -- UTF-8, but it may have lone surrogates; text too
    payload TEXT NOT NULL,                  -- JSON object
    text BLOB NOT NULL
) STRICT;

CREATE INDEX entry_turn ON entry (turn);

-- A tool call is updated in place; a message with the id of an older one is a new entry.
CREATE UNIQUE INDEX tool_call ON entry (key) WHERE kind = 'tool_call';

-- Pieces of the message that is being streamed, not yet part of its entry's text.
CREATE TABLE delta (
    id INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL REFERENCES entry (seq),
    text BLOB NOT NULL
) STRICT;

-- Copies of the harness's database, each as what changed since the one before.
CREATE TABLE checkpoint (
    seq INTEGER PRIMARY KEY,
    base INTEGER NOT NULL,                  -- the checkpoint that holds every row; this one builds on it
    turn INTEGER NOT NULL,                  -- the turn it was taken after
    depth INTEGER NOT NULL,                 -- that turn's place on its line
    primer INTEGER REFERENCES primer (id),  -- what the conversation was primed with
    steps INTEGER NOT NULL,                 -- rows in the harness's steps table
    visible INTEGER NOT NULL,               -- steps that the harness surely shows of them
    user_turns INTEGER NOT NULL,
    summarised_turns INTEGER NOT NULL,      -- of these, the ones that the model gets only in a summary
    executions INTEGER NOT NULL,            -- rows in the harness's executor_metadata table
    at TEXT NOT NULL,
    page_size INTEGER NOT NULL,             -- of the harness's database
    user_version INTEGER NOT NULL,
    digest BLOB NOT NULL                    -- the end of the one before, and a SHA-256 over that and all of this
) STRICT;

-- A row of the harness's database as it was from checkpoint seq on; NULL if it was gone from then on.
CREATE TABLE checkpoint_row (
    table_name TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    seq INTEGER NOT NULL REFERENCES checkpoint (seq),
    digest BLOB CHECK ((digest IS NULL) = (content IS NULL)),   -- SHA-256 of the row
    content BLOB                            -- the row as sessions.rows encodes it, compressed
) STRICT;

-- Holds the digest too: comparing with the last checkpoint must not read the contents.
CREATE INDEX checkpoint_row_version ON checkpoint_row (table_name, row_id, seq, digest);
"""
