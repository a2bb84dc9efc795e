"""Checks of what is stored: every session by a look, the newest ones thoroughly. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from acp_agent.doctor.findings import Finding, ok, problem, skipped, warning
from acp_agent.doctor.folder import PROBE, existing
from acp_agent.doctor.situation import Situation
from acp_agent.sessions_command.output import size
from sessions import catalog, health, schema
from sessions.health import Health
from sessions.outcomes import Outcome
from sessions.session import StoreDamaged
from sessions.store import StoreTooNew, UnknownSession
from sessions.verify import Verification

NEWEST: Final = 5
"""How many sessions are verified, unless all are."""

MUCH_ASIDE: Final = 1_000_000_000
NAMED: Final = 5
"""How many sessions a sentence names."""


def stores(situation: Situation) -> Iterator[Finding]:
    """Whether every session can be read, and how it was when it was last loaded."""
    found = situation.sessions
    if not found:
        yield ok("There are no sessions yet")
        return
    yield from _unreadable(found)
    yield from _cut(found)
    yield from _brought_back(found)
    aside = sum(each.aside for each in found)
    if aside > MUCH_ASIDE:
        yield warning(
            f"{size(aside)} are files that were moved aside, in {_many(each for each in found if each.aside)}.",
            "If the sessions are well, remove what is in their folders `aside`.",
        )
    old = [each for each in found if each.version is not None and each.version < schema.VERSION]
    older = f", {len(old)} of an older version, which are changed when they are used" if old else ""
    kept = f" ({size(aside)} of them moved aside)" if aside else ""
    yield ok(f"{_many(found)}, {size(sum(each.bytes for each in found))} on the disk{kept}{older}")


def _unreadable(found: Sequence[Health]) -> Iterator[Finding]:
    for each in [each for each in found if each.problem and not each.too_new][:NAMED]:
        yield problem(
            f"The store of session {each.session_id} cannot be read: {each.problem}.",
            "Load the session in your client: what can be read is saved, the damaged files are kept, and it is"
            " told what is lost.",
            private=(each.problem or "",),
        )
    if (more := sum(bool(each.problem) and not each.too_new for each in found) - NAMED) > 0:
        yield problem(f"{more} more sessions cannot be read.", "See above.")
    if too_new := [each for each in found if each.too_new]:
        yield problem(
            f"{_many(too_new)} of a newer version of the agent: {_names(too_new)}.",
            "Update the agent; this one does not touch them.",
        )


def _cut(found: Sequence[Health]) -> Iterator[Finding]:
    for what, cut in (
        ("A restore", [each for each in found if each.restoring and not each.busy]),
        ("The repair of a store", [each for each in found if each.salvaging and not each.busy]),
    ):
        if cut:
            yield warning(f"{what} was cut in {_names(cut)}.", "Load the session: the next load finishes it.")


def _brought_back(found: Sequence[Health]) -> Iterator[Finding]:
    last = Counter(each.summary.outcome for each in found if each.summary and each.summary.outcome)
    lost = [each for each in found if each.summary and each.summary.outcome in (Outcome.REBUILT, Outcome.FRESH)]
    if lost:
        yield warning(
            f"{_many(lost)} came back last as {Outcome.REBUILT} or {Outcome.FRESH}, with less than all of it in"
            f" the model's memory: {_names(lost)}.",
            "`acp-agent sessions show ID` says more, and `sessions turns ID` what can be restored.",
        )
    if last[Outcome.RECOVERED]:
        yield ok(f"{last[Outcome.RECOVERED]} of the sessions came back last from a checkpoint")


def of_the_catalog(situation: Situation) -> Iterator[Finding]:
    """Whether the list of sessions can be read."""
    folder = situation.settings.data_dir
    if trouble := catalog.problem(folder):
        yield warning(
            f"The list of sessions is damaged: {trouble}.",
            f"Nothing needs to be done: the next list makes a new one. {folder / catalog.NAME} may be removed.",
        )
    else:
        yield ok("The list of sessions can be read")


def remains(situation: Situation) -> Iterator[Finding]:
    """Whether something is left of work that was cut."""
    folder = situation.settings.data_dir
    left = health.remains(folder)
    if left.deleted:
        yield warning(
            f"{len(left.deleted)} deleted sessions are still on the disk.",
            "The next `acp-agent sessions delete` or `prune` removes them.",
        )
    probes = [path for path in existing(folder).glob(f"{PROBE}*") if path.is_dir()]
    for path in (*left.unfinished, *probes):
        yield warning(f"{path} was left by a process that was killed.", "Remove it while no agent runs.")
    if not (left.deleted or left.unfinished or probes):
        yield ok("Nothing was left unfinished")


def verified(situation: Situation) -> Iterator[Finding]:
    """Whether the newest sessions are what was stored: every checkpoint, the journal, the harness's database."""
    readable = [each for each in situation.sessions if each.summary is not None]
    readable.sort(key=lambda each: (each.summary and each.summary.updated_at) or "", reverse=True)
    chosen = readable if situation.deep else readable[:NEWEST]
    if not chosen:
        yield skipped("There is no session to verify.")
        return
    sound = 0
    for number, each in enumerate(chosen, start=1):
        with suppress(UnknownSession):  # it was deleted meanwhile
            wrong = _wrong(situation, each, f"session {number} of {len(chosen)}")
            sound += not wrong
            yield from wrong
    rest = len(readable) - len(chosen)
    left = f"; {rest} older ones were not looked through (--deep does that)" if rest else ""
    if sound:
        yield ok(f"{_many(chosen[:sound])} verified: checkpoints, journal and the harness's database{left}")


def _wrong(situation: Situation, each: Health, which: str) -> list[Finding]:
    """What is wrong with a session, by looking through all of it."""
    remedy = (
        "Load the session: it is brought back from the newest checkpoint that is whole. `acp-agent sessions verify"
        f" {each.session_id}` says more."
    )
    try:
        with situation.store.open(each.session_id) as session:
            verification = Verification(session, live=each.busy is not None)
            for progress in verification:
                situation.tell(f"{which}, {100 * progress.done // max(progress.total, 1)} %")
    except (StoreDamaged, StoreTooNew) as damaged:
        return [problem(f"{damaged}", remedy, private=(getattr(damaged, "detail", ""),))]
    return [
        problem(f"Session {each.session_id}: {found.name}: {found.detail}.", remedy, private=(found.detail,))
        for found in verification.findings
        if not found.ok
    ]


def _many(found: Iterable[Health]) -> str:
    number = sum(1 for _ in found)
    return "1 session" if number == 1 else f"{number} sessions"


def _names(found: Sequence[Health]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{', '.join(each.session_id for each in found[:NAMED])}{more}"
