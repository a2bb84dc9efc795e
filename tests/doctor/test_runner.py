"""Checks are made one after the other, whatever one of them does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from threading import Event

import pytest

from acp_agent.doctor import runner
from acp_agent.doctor.findings import Checked, Finding, State, as_json, exit_status, ok, problem, skipped, warning
from acp_agent.doctor.situation import Check, Situation
from tests.doctor.conftest import Machine

FINE, BAD = ok("fine"), problem("bad", "Mend it.")


def check(name: str, *findings: Finding, needs: tuple[str, ...] = ()) -> Check:
    return Check(name, "group", f"the {name}", lambda _: findings, needs=needs)


def run(machine: Machine, *checks: Check) -> list[Checked]:
    return list(runner.run(checks, machine.situation()))


def test_a_check_that_fails_is_a_finding_and_the_others_are_made(machine: Machine) -> None:
    def fails(_: Situation) -> Iterator[Finding]:
        yield FINE
        raise RuntimeError("the canary")

    failed, other = run(machine, Check("fails", "group", "it", fails), check("other", FINE))
    assert failed.findings[0] == FINE
    assert failed.state is State.PROBLEM
    assert failed.findings[1].found == "The check itself failed: RuntimeError: the canary."
    assert failed.findings[1].private == ("the canary",), "a support file leaves it out"
    assert other.findings == (FINE,)


def test_a_fault_of_ours_says_where_it_is(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> bool:
        raise ValueError

    monkeypatch.setattr("os.path.lexists", broken)
    found = machine.check("data-folder").findings
    assert len(found) == 1
    assert found[0].found.startswith("The check itself failed (acp_agent/doctor/folder.py, line ")
    assert found[0].found.endswith("): ValueError.")


def test_a_check_that_hangs_is_left_with_what_it_has_found(machine: Machine) -> None:
    release = Event()

    def hangs(_: Situation) -> Iterator[Finding]:
        yield FINE
        release.wait(60)

    hanging = Check("hangs", "group", "it", hangs, seconds=0.05)
    found, other = run(machine, hanging, check("other", FINE))
    release.set()
    assert [finding.state for finding in found.findings] == [State.OK, State.PROBLEM]
    assert other.state is State.OK


@pytest.mark.parametrize("person", [False, True], ids=["time", "a person"])
def test_what_is_given_up_ends_what_it_has_begun(machine: Machine, person: bool) -> None:
    ended = Event()

    def begins(situation: Situation) -> Iterator[Finding]:
        stopped = Event()
        situation.stopping = stopped.set
        if person:
            os.kill(os.getpid(), signal.SIGINT)
        stopped.wait(60)
        ended.set()
        yield from ()

    checks = [Check("begins", "group", "it", begins, seconds=60.0 if person else 0.05)]
    with pytest.raises(KeyboardInterrupt) if person else nullcontext():
        list(runner.run(checks, machine.situation()))
    assert ended.is_set()


def test_what_needs_something_that_is_bad_is_left_out(machine: Machine) -> None:
    done = run(machine, check("a", BAD), check("b", FINE, needs=("a",)), check("c", FINE, needs=("b", "other")))
    assert [each.state for each in done] == [State.PROBLEM, State.SKIPPED, State.OK]
    assert done[1].findings[0].found == "Not looked at, because of the problem with a."


@pytest.mark.parametrize(
    ("findings", "state", "plain", "strict"),
    [
        ((FINE,), "ok", 0, 0),
        ((), "ok", 0, 0),
        ((skipped("why"),), "skipped", 0, 0),
        ((FINE, warning("odd", "Look.")), "warning", 0, 1),
        ((warning("odd", "Look."), BAD, FINE), "problem", 1, 1),
    ],
)
def test_the_state_is_the_worst_and_the_exit_status_tells(
    findings: tuple[Finding, ...], state: str, plain: int, strict: int
) -> None:
    checked = [Checked("a", "group", findings, 3)]
    assert as_json(checked)["state"] == state
    assert exit_status(checked, strict=False) == plain
    assert exit_status(checked, strict=True) == strict
