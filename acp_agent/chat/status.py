"""What the status line says of a session, as parts of which the last may be left out. Pure."""

from __future__ import annotations

from acp_agent.chat import render
from acp_agent.chat.fitting import amount, cut
from acp_agent.chat.settings import MODE, MODEL
from acp_agent.chat.transcript import SessionState

NO_SESSION = ("no session", "/new, /load or /sessions open one")

_TITLE_COLUMNS = 30


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
