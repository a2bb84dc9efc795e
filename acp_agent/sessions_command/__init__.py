"""`acp-agent sessions`: what people can do with stored sessions from the command line."""

from acp_agent.sessions_command.carrying import export_session, import_session
from acp_agent.sessions_command.changing import fork, restore
from acp_agent.sessions_command.clearing import delete, prune
from acp_agent.sessions_command.group import sessions
from acp_agent.sessions_command.looking import list_sessions, show, turns, verify

__all__ = ["sessions"]

for _command in (
    list_sessions,
    show,
    turns,
    verify,
    restore,
    fork,
    export_session,
    import_session,
    delete,
    prune,
):
    sessions.add_command(_command)
