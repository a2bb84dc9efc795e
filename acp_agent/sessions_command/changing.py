"""The commands of time travel: `restore` and `fork`."""

from __future__ import annotations

import click

from acp_agent.config import Settings
from acp_agent.sessions_command import output
from acp_agent.sessions_command.group import as_json, confirmed, find, held, holder, store_of, sure, told
from sessions import timeline


@click.command()
@click.argument("session")
@click.option(
    "--turn", metavar="N", type=click.IntRange(min=0), required=True, help="Its number; 0: before the first."
)
@confirmed
@as_json
@click.pass_obj
def restore(settings: Settings, session: str, turn: int, yes: bool, as_json: bool) -> None:
    """Take a session back, or forward, to the end of a turn.

    Nothing is lost: the turns that are left stay, and can be returned to in the same way. Files that the agent
    changed in your folders stay as they are. The session must not be open.
    """
    store = store_of(settings)
    with told():
        session_id = find(store, session)
        sure(f"Take session {session_id} to turn {turn}?", yes=yes, harmless=True)
        with held(store, session_id) as (opened, journal):
            done = timeline.restore(opened, journal, turn=turn)
    aside = str(done.moved_aside) if done.moved_aside else None
    if as_json:
        output.write_json(
            {
                "sessionId": session_id,
                "turn": done.turn,
                "turns": done.turns,
                "left": done.left,
                "checkpoint": done.checkpoint.ref.wire() if done.checkpoint else None,
                "preserved": done.preserved.ref.wire() if done.preserved else None,
                "movedAside": aside,
            }
        )
        return
    click.echo(f"Session {session_id} is at turn {done.turn} and holds {_turns(done.turns)}.")
    if done.left not in (0, done.turn):
        click.echo(f"To return to where it was: acp-agent sessions restore {session_id} --turn {done.left}")
    if aside:
        click.echo(f"Its files of before are in {aside}")


@click.command()
@click.argument("session")
@click.option("--turn", metavar="N", type=click.IntRange(min=0), help="Default: the last one with a checkpoint.")
@as_json
@click.pass_obj
def fork(settings: Settings, session: str, turn: int | None, as_json: bool) -> None:
    """Make a new session that holds what a session held at the end of a turn.

    The session itself stays as it is, and may be open. Permissions that it was given for always are not copied.
    """
    store = store_of(settings)
    with told():
        source = find(store, session)
        with store.open(source) as opened:
            made = timeline.fork(store, opened, turn=turn)
            timeline.record_fork(store, opened, made, holder())
    if as_json:
        output.write_json(
            {
                "sessionId": made.session_id,
                "from": source,
                "turn": made.turn,
                "turns": made.turns,
                "checkpoint": made.checkpoint.ref.wire() if made.checkpoint else None,
            }
        )
        return
    click.echo(
        f"Session {made.session_id} holds {_turns(made.turns)} of session {source}, up to turn {made.turn}."
    )


def _turns(count: int) -> str:
    return f"{count} turn" if count == 1 else f"{count} turns"
