"""Every event that is logged: its name, its level and what it means.

docs/logs.md has them as a table (`event_table`).

The levels: *error* is what the user loses, or was refused through no fault of the request; *warning* is less than
it should be, and the user or the client was told; *info* is the life of the process and its sessions; *debug* is
everything else. Facts of an event never hold anything of a conversation: no prompts, answers, arguments of tools.
"""

from __future__ import annotations

from enum import Enum
from logging import DEBUG, ERROR, INFO, WARNING


class Event(Enum):
    """An event; the value of a member is its name, its level and its meaning."""

    STARTED = "process.started", INFO, "the process begins: `version`, `python`, `platform`, and the settings"
    LOADED = "process.loaded", INFO, "the SDKs are imported, requests are served: `ms`, `antigravity`, `acp`"
    CONNECTED = (
        "client.connected",
        INFO,
        "`initialize` was answered: `client`, `client_version`, `protocol`, what the client can do (`can`)",
    )
    INPUT_ENDED = "client.input_ended", INFO, "no request can come any more: `why`"
    CONNECTION_OVER = "client.gone", INFO, "nothing is served any more: `why`"
    ENDED = (
        "process.ended",
        INFO,
        "the last line of a process that ends in order: `why`, `status`, `ms` of its life",
    )
    CHILDREN_KILLED = "process.children_killed", WARNING, "child processes still ran at the end: `count`"
    HANDLER_STUCK = (
        "process.handler_stuck",
        WARNING,
        "a request did not end in time when the process did: `seconds`",
    )

    SESSION_OPENED = (
        "session.opened",
        INFO,
        "a session is open: `how` (`new`, `load`, `resume`, `fork`), `mode`, `model`, `mcp_servers`, `folders`, "
        "`replayed` updates, `ms`",
    )
    BROUGHT_BACK = (
        "session.brought_back",
        INFO,
        "a harness holds the stored conversation again; the report of [resume.md](resume.md): `outcome`, "
        "`reason`, `turns`, `turns_in_context`, `turns_lost`, `turns_primed`, `turns_summarised`, `interrupted` "
        "turn, `checkpoint` turn, `failed_checks`, `orphans`, `moved_aside`, `ms`. A *warning* if turns were lost "
        "or the outcome is lower than `resumed`",
    )
    REWOUND = "session.rewound", INFO, "the conversation is at the end of another turn: `to`"
    FORKED = "session.forked", INFO, "a new session was made of this one: `into`, `at` turn"
    SESSION_CLOSED = (
        "session.closed",
        INFO,
        "a session is given up: `how` (`close`, `delete`, `reload`, `failed`, `end`)",
    )
    SESSION_DELETED = "session.deleted", INFO, "a session and its files are gone: `existed`"

    PROMPT_BEGAN = "prompt.began", INFO, "a turn begins: `blocks`, `bytes` of text, `media`"
    PROMPT_ENDED = (
        "prompt.ended",
        INFO,
        "the turn is over, its checkpoint follows: `stop_reason`, `ms`, `input_tokens`, `output_tokens`",
    )
    PROMPT_FAILED = "prompt.failed", ERROR, "the model or the harness failed during the turn: `error`, `ms`"
    PROMPT_CUT = (
        "prompt.cut",
        WARNING,
        "the turn did not come to its end, because the process ends or the disk refuses",
    )
    CANCEL_ASKED = "prompt.cancel_asked", INFO, "the client wants the turn to stop"
    COMMAND = "prompt.command", INFO, "a slash command was obeyed: `command`, `ms`"
    CHECKPOINT_TAKEN = "checkpoint.taken", INFO, "the turn is on disk: `turn`, `steps`, `durable`, `ms`"
    CHECKPOINT_FAILED = (
        "checkpoint.failed",
        WARNING,
        "the turn is not on disk, and the user was told: `turn`, `error`, `ms`",
    )

    HARNESS_OPENED = "harness.opened", INFO, "a harness runs: `harness` (its pid), `existed`, `steps`, `ms`"
    HARNESS_NOT_OPENED = "harness.not_opened", WARNING, "a harness did not open the conversation: `error`, `ms`"
    HARNESS_RETRIED = "harness.retried", WARNING, "one that did not start is started once more"
    HARNESS_HIBERNATED = "harness.hibernated", INFO, "the harness of an idle session was closed: `idle` seconds"
    HARNESS_CLOSED = "harness.closed", INFO, "a harness ended in order: `harness`, `ms`"
    HARNESS_NOT_CLOSED = (
        "harness.not_closed",
        WARNING,
        "closing a harness failed; it is gone all the same: `harness`",
    )
    HARNESS_KILLED = (
        "harness.killed",
        WARNING,
        "a harness was ended by force: `harness`, `why` (`halt`, `close`, `silence`)",
    )
    HARNESS_DIED = "harness.died", ERROR, "a harness ended, or stopped answering, in the middle of a turn: `error`"
    OPENING_FAILED = (
        "session.not_opened",
        INFO,
        "the harness of a turn was not opened, the prompt is refused: `error`",
    )

    PERMISSION_ASKED = "permission.asked", INFO, "the client is asked whether a tool may run: `tool`, `call`"
    PERMISSION_ANSWERED = (
        "permission.answered",
        INFO,
        "the answer: `tool`, `call`, `allowed`, `by` (`user`, `rule` if the question became unnecessary, "
        "`nobody` if it was cancelled), `option`, `ms`",
    )
    PERMISSION_DENIED = (
        "permission.denied",
        INFO,
        "a tool was refused without a question: `tool`, `by` (`mode`, `rule`)",
    )
    QUESTIONS_ASKED = "questions.asked", INFO, "the model asks the user: `count`"
    QUESTIONS_ANSWERED = "questions.answered", INFO, "the answers: `count` of questions that were answered, `ms`"
    CLIENT_REFUSED = (
        "client.refused",
        WARNING,
        "the client answered a question of ours with an error: `what`, `error`",
    )
    MODE_CHANGED = "session.mode", INFO, "what may be done without asking has changed: `mode`"
    OPTION_CHANGED = "session.option", INFO, "an option has changed: `option`, `value`"
    MCP_FAILED = "mcp.failed", WARNING, "an MCP server cannot be used, and the user was told: `server`"
    LOGGED_OUT = "credentials.forgotten", INFO, "the client logged out"
    AUTHENTICATED = "credentials.found", INFO, "`authenticate` found credentials: `method`"
    KEY_UNREADABLE = "credentials.unreadable", WARNING, "the file with the API key cannot be used"
    KEYRING_SILENT = "credentials.keyring", DEBUG, "the keyring gave no answer"
    MODELS_UNREAD = "models.unread", INFO, "the list of models could not be read: `error`"

    REQUEST_ANSWERED = "request.answered", DEBUG, "a request was answered: `method`, `ms`"
    REQUEST_REFUSED = (
        "request.refused",
        INFO,
        "a request was answered with an error that is the client's or the user's to mend: `method`, `code`, "
        "`reason`, `ms`",
    )
    REQUEST_FAILED = (
        "request.failed",
        ERROR,
        "a request was answered with an error through no fault of its own: `method`, `code`, `reason`, `ms`",
    )
    MESSAGE_REFUSED = (
        "wire.refused",
        WARNING,
        "a message was refused before it was read as a request: `code`, `reason`",
    )
    MESSAGE_DROPPED = "wire.dropped", INFO, "a message that needs no answer means nothing here: `why`"
    NOTIFICATION_DROPPED = (
        "wire.notification_dropped",
        WARNING,
        "a notification came too early or malformed: `method`",
    )
    ANSWER_UNSAYABLE = (
        "wire.unsayable",
        ERROR,
        "an answer could not be written as JSON; an error took its place: `error`",
    )
    ANSWER_DROPPED = "wire.answer_dropped", DEBUG, "an answer was dropped: the client is gone"

    STORE_REFUSED = "store.refused", WARNING, "the disk did not take something that the session can do without"
    STORE_SALVAGED = "store.salvaged", WARNING, "a store is damaged; what can be read of it is opened"
    JOURNAL_LOST = "store.journal_lost", ERROR, "what the client was shown last could not be stored"
    LOG_RESUMED = "log.resumed", WARNING, "the log file could not be written for a while: `lost` lines"
    TRACING = "trace.started", INFO, "messages are traced: `content`"
    TRACE_FAILED = "trace.failed", WARNING, "the trace cannot be written; what is missing is counted in it"
    OTHER = (
        "library.said",
        DEBUG,
        "a library logged something, at its level: `logger`, `at`; its words only with *debug*",
    )

    def __init__(self, title: str, level: int, meaning: str) -> None:
        self.title = title
        self.level = level
        self.meaning = meaning
