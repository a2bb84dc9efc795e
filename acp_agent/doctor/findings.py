"""What checks find, as plain values, and their shape as JSON.

A *check* looks at one thing and has *findings*, each with a state and, if something should be done, a remedy. The
state of a check is the worst of its findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from acp_agent import __version__

JSON_VERSION: Final = 1
"""The version of the shape that `as_json` gives; it changes when a program that reads it must."""


class State(StrEnum):
    """How it is, best first. `skipped` says nothing of how it is."""

    SKIPPED = "skipped"
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_RANK: Final = tuple(State)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, in one sentence, and what to do about it, None if there is nothing to do.

    `private` are words of these sentences that belong to nobody but the user: a support file leaves them out.
    """

    state: State
    found: str
    remedy: str | None = None
    private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that was made: its name, the group it belongs to, its findings, and how long it took in ms."""

    name: str
    group: str
    findings: tuple[Finding, ...]
    ms: int

    @property
    def state(self) -> State:
        """The worst of its findings."""
        return max((finding.state for finding in self.findings), key=_RANK.index, default=State.OK)


def ok(found: str, *, private: Sequence[str] = ()) -> Finding:
    """All is well, or there is nothing to do about it."""
    return Finding(State.OK, found, None, tuple(private))


def warning(found: str, remedy: str, *, private: Sequence[str] = ()) -> Finding:
    """The agent works, and this will be in somebody's way some day, or is not as safe as it could be."""
    return Finding(State.WARNING, found, remedy, tuple(private))


def problem(found: str, remedy: str, *, private: Sequence[str] = ()) -> Finding:
    """The agent does not work like this, or a session is not what it was."""
    return Finding(State.PROBLEM, found, remedy, tuple(private))


def skipped(why: str) -> Finding:
    """It was not looked at."""
    return Finding(State.SKIPPED, why)


def count(checked: Sequence[Checked], state: State) -> int:
    """How many of the checks are in this state."""
    return sum(each.state is state for each in checked)


def exit_status(checked: Sequence[Checked], *, strict: bool) -> int:
    """0 if all is well, 1 if there is a problem, with `strict` also if there is a warning."""
    bad = count(checked, State.PROBLEM) + (count(checked, State.WARNING) if strict else 0)
    return 1 if bad else 0


def as_json(checked: Sequence[Checked]) -> dict[str, JsonValue]:
    """The whole result; `docs/doctor.md` describes this shape."""
    return {
        "version": JSON_VERSION,
        "agent": __version__,
        "state": max((each.state for each in checked), key=_RANK.index, default=State.OK).value,
        "counts": {state.value: count(checked, state) for state in reversed(State)},
        "checks": [
            {
                "name": each.name,
                "group": each.group,
                "state": each.state.value,
                "ms": each.ms,
                "findings": [
                    {"state": finding.state.value, "found": finding.found, "remedy": finding.remedy}
                    for finding in each.findings
                ],
            }
            for each in checked
        ],
    }
