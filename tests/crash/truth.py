"""What must be true of a session after a kill: a simple model, kept from what a client saw and nothing else.

A prompt that was answered with `durable: true` must be in the model's context from then on, and so must everything
that was in the request of that prompt. A prompt that was cut may be there or not, but what is there is there in
order. The number of turns is known exactly whenever nothing is in flight, and within bounds while something is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from acp_agent.chat.transcript import Item, Message, ToolCall, Transcript
from acp_agent.offline.model_request import ModelRequest
from tests.agent.driver import Json
from tests.agent.proof import prompts, without_prompts


class PromiseBroken(AssertionError):
    """The agent did something that it promises not to do; the text says what."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt that was sent, and whether it must be in the model's context from now on."""

    text: str
    durable: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Where a session is: its prompts that the model may still have, the turns of its line, what was shown of it.

    `turns` is the smallest and the largest number of turns that can have begun. `settled` counts the items of the
    transcript that cannot change any more.
    """

    entries: tuple[Prompted, ...] = ()
    turns: tuple[int, int] = (0, 0)
    settled: int = 0

    @property
    def durable(self) -> tuple[str, ...]:
        """The prompts that must be in the context."""
        return tuple(entry.text for entry in self.entries if entry.durable)


@dataclass(slots=True)
class Truth:
    """One session as its client knows it."""

    session_id: str
    state: State = field(default_factory=State)
    unanswered: bool = False
    """Whether a prompt was sent after the last one that was answered."""
    damaged: bool = False
    """Whether its trajectory was damaged since it was last brought back."""
    comparable: bool = True
    """Whether all of what is journalled was shown, but for the end of a turn that was cut."""
    shown: list[Json] = field(default_factory=list)
    after_turn: dict[int, State] = field(default_factory=dict)
    """The state after each turn that was answered, to which the session can be taken back."""
    alternatives: list[State] = field(default_factory=list)
    """Other states that it may be in, because what would have led there was killed."""
    report: Json | None = None
    """How it was last brought back, until the model's next request has shown whether that is true."""

    def sent(self, text: str) -> None:
        """A prompt is on its way."""
        self.state = _with_prompt(self.state, text)
        self.alternatives = [_with_prompt(state, text) for state in self.alternatives]
        self.unanswered = True

    def begun(self) -> None:
        """The last prompt's turn has certainly begun."""
        high = self.state.turns[1]
        self.state = replace(self.state, turns=(high, high))

    def received(self, request: ModelRequest) -> None:
        """The last prompt has reached the model: check all that it came with."""
        self.begun()
        *earlier, last = request.user_turns
        expect(last == self.state.entries[-1].text, "the prompt reaches the model as it was sent", last)
        states = [self.state, *self.alternatives]
        fitting = [state for state in states if _fits(earlier, state, request)]
        expect(bool(fitting), "all durable turns are in the model's context, in order", earlier, states)
        self.state, self.alternatives = fitting[0], []
        report, self.report = self.report, None
        if report is not None:
            check_counts(report, len(earlier))
            if report["reason"] == "ahead":
                before = self.state.entries[-2].text
                expect(earlier[-1:] == [before], "a turn that was stored whole is in the context", report, earlier)
        present = set(request.user_turns)
        kept = tuple(entry for entry in self.state.entries if entry.durable or entry.text in present)
        self.state = replace(self.state, entries=kept)

    def answered(self, text: str, checkpoint: Json, *, reached_model: bool) -> None:
        """The last prompt's answer has been received."""
        expect(checkpoint["durable"] is True, "a turn is durable when the disk is well", checkpoint)
        expect(self.state.entries[-1].text == text, "prompts are answered in order")
        self.begun()
        if reached_model:  # a prompt that was cancelled early is never sent
            entries = tuple(replace(entry, durable=True) for entry in self.state.entries)
            self.state = replace(self.state, entries=entries)
        self.unanswered = False
        if self.comparable:
            self.state = replace(self.state, settled=len(without_prompts(items(self.shown))))
        turn = checkpoint["turn"]
        assert isinstance(turn, int)
        if reached_model:
            self.after_turn[turn] = self.state

    def brought_back(self, report: Json, replayed: list[Json] | None) -> None:
        """A load or resume has been answered.

        Args:
            report: its report.
            replayed: the updates that came before the answer; None if it was a resume.
        """
        states = [self.state, *self.alternatives]
        turns = number(report, "turns")
        fitting = [state for state in states if state.turns[0] <= turns <= state.turns[1]]
        expect(bool(fitting), "the report knows every turn", report, [state.turns for state in states])
        if len(fitting) == 1:
            self.state, self.alternatives = fitting[0], []
        self._check_outcome(report, max(len(state.durable) for state in fitting))
        if replayed is None:
            self.comparable = self.comparable and not self.unanswered
        else:
            if not self.alternatives:
                self._check_replay(replayed)
            self.shown, self.comparable = list(replayed), True
        self.state = replace(self.state, turns=(turns, turns))
        self.damaged, self.report = False, report

    def _check_outcome(self, report: Json, durable: int) -> None:
        outcome, reason = report["outcome"], report["reason"]
        counted = number(report, "turnsInContext") + number(report, "turnsSummarised")
        expect(counted >= min(durable, len(self.state.durable)), "no durable turn is lost", report)
        if not self.damaged:
            expect(outcome == "resumed", "what is sound is resumed", report)
        elif durable:
            expect(outcome in ("resumed", "recovered"), "a checkpoint is not passed over", report)
        if not self.unanswered:
            expect(report["interrupted"] is None, "an answered turn was not interrupted", report)
            if not self.damaged:
                whole = "verified" if self.state.turns[1] else "never_prompted"
                expect(reason == whole, "an answered turn was checkpointed", report)

    def _check_replay(self, replayed: list[Json]) -> None:
        shown, again = without_prompts(items(self.shown)), without_prompts(items(replayed))
        settled = min(self.state.settled, len(shown))
        expect(shown[:settled] == again[:settled], "a replay shows what was shown", shown, again)
        typed = prompts(items(replayed))
        low, high = self.state.turns
        expect(len(typed) <= high and len(typed) >= low - 1, "a replay shows every prompt", typed, self.state)
        if not self.comparable:
            return
        if not self.unanswered:
            expect(len(shown) == len(again), "a replay shows no more than was shown", shown, again)
        expect(len(shown) <= len(again), "a replay shows all that was shown", shown, again)
        for was, now in zip(shown[settled:], again[settled:], strict=False):
            expect(_continues(was, now), "a replay continues what was shown", was, now)


def expect(condition: bool, promise: str, *seen: object) -> None:
    """Raise `PromiseBroken` unless the condition holds; `seen` is what contradicts the promise."""
    if not condition:
        raise PromiseBroken("; ".join([f"not true: {promise}", *(repr(thing) for thing in seen)]))


def number(report: Json, name: str) -> int:
    """A number in a report; 0 if this version does not report it."""
    found = report.get(name, 0)
    assert isinstance(found, int)
    return found


def check_counts(report: Json, earlier: int) -> None:
    """Check a report's numbers against the number of earlier user turns in the model's next request.

    Turns that the conversation was primed with are in the request's system instructions.
    """
    in_context, primed = number(report, "turnsInContext"), number(report, "turnsPrimed")
    expect(earlier + primed == in_context, "turnsInContext is what the model gets", report, earlier)
    others = number(report, "turnsLost") + number(report, "turnsSummarised")
    expect(
        number(report, "turns") - others == in_context, "every turn is in the context, summarised or lost", report
    )


def items(updates: Sequence[Json]) -> list[Item]:
    """What a client shows of these updates."""
    return list(Transcript(updates).items)


def _with_prompt(state: State, text: str) -> State:
    low, high = state.turns
    return replace(state, entries=(*state.entries, Prompted(text)), turns=(low, high + 1))


def _fits(earlier: Sequence[str], state: State, request: ModelRequest) -> bool:
    """Whether a request holds a session's prompts: the durable ones, and of the others some, in order."""
    left = iter(entry.text for entry in state.entries[:-1])
    known = all(any(text == candidate for candidate in left) for text in earlier)
    missing = [text for text in state.durable if text not in earlier]
    return known and all(text in request.system for text in missing)


def _continues(was: Item, now: Item) -> bool:
    """Whether an item of a replay is one that was shown, perhaps with an end that was not shown."""
    if isinstance(was, Message) and isinstance(now, Message):
        return (was.role, was.message_id) == (now.role, now.message_id) and now.text.startswith(was.text)
    if isinstance(was, ToolCall) and isinstance(now, ToolCall):
        return (was.tool_call_id, was.title, was.kind) == (now.tool_call_id, now.title, now.kind)
    return was == now
