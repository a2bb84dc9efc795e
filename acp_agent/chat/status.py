"""What the lines around the input say, as parts of which the last may be left out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from acp_agent.chat import render
from acp_agent.chat.fitting import amount, clock, cut
from acp_agent.chat.settings import MODE, MODEL
from acp_agent.chat.transcript import SessionState

NO_SESSION = ("no session", "/new, /load or /sessions open one")

_TITLE_COLUMNS = 30


@dataclass(frozen=True, slots=True)
class Doing:
    """What is being done: its name, for how many seconds, whether it is a turn, and how many lines wait for it.

    `then_leaving` says that the client leaves after it.
    """

    name: str
    seconds: float
    is_turn: bool = False
    cancelling: bool = False
    waiting: int = 0
    then_leaving: bool = False


def activity(doing: Doing | None, *, leaving: bool) -> tuple[str, ...]:
    """What is being done, and what can be done about it; `leaving` says that the client is about to end."""
    if leaving:
        return ("ending the agent …",)
    if doing is None:
        return ()
    passed = clock(doing.seconds)
    then = "leaves then" if doing.then_leaving else ""
    if doing.cancelling:
        return ("cancelling the turn …", passed, "Ctrl-C again leaves")
    if doing.is_turn:
        waiting = f"{doing.waiting} waiting" if doing.waiting else ""
        return ("the turn …", passed, waiting, then, "Ctrl-C cancels", "/kill kills the agent")
    return (f"{doing.name} …", passed, then, "/kill kills the agent")


def session_status(state: SessionState) -> tuple[str, ...]:
    """Title, mode, use of the context, model: what is not known is empty."""
    title = cut(render.plain(state.title or "new session"), _TITLE_COLUMNS)
    mode, model = state.settings.of(MODE), state.settings.of(MODEL)
    return (
        title,
        render.plain(mode.shown) if mode else "",
        _use(state.tokens_used, state.tokens_size),
        render.plain(model.shown) if model else "",
    )


def _use(used: int | None, size: int | None) -> str:
    if used is None:
        return ""
    return (
        f"{amount(used)} tokens" if not size else f"{amount(used)}/{amount(size)} tokens ({used * 100 // size} %)"
    )
