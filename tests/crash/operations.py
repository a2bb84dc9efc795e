"""What happens to sessions in the random campaign: a table of operations, each with a weight.

An operation is given a session that is open and leaves it open. It may be killed at any point.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from tests.crash.play import Play
from tests.crash.truth import Truth

Run = Callable[[Play, Truth], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, and how often it is chosen compared with the others."""

    name: str
    weight: int
    run: Run


def numbered(play: Play, truth: Truth, text: str) -> str:
    """A prompt that no other of the session's prompts equals."""
    first = f"Prompt {truth.state.turns[1] + 1} of {truth.session_id[:6]}, {play.random.getrandbits(32):08x}."
    return f"{first}\n{text}".strip()


async def ask(play: Play, truth: Truth) -> None:
    """A plain text turn."""
    await play.prompt(truth, numbered(play, truth, ""))


async def stream(play: Play, truth: Truth) -> None:
    """An answer in many pieces."""
    words, pause = play.random.choice(((30, 3), (60, 5), (12, 20)))
    await play.prompt(truth, numbered(play, truth, f"!stream {words} {pause}"))


async def tools(play: Play, truth: Truth, answer: str | None = "allow_once") -> None:
    """One to three tools; every write and every command is answered with `answer`."""
    name = f"file{play.random.randrange(4)}.txt"
    (play.world.workspace / name).write_text("one steam three")
    lines = [
        f"!view_file {name}",
        f"!write_to_file {name} one steam three",
        f"!replace_file_content {name} steam water",
        "!run_command echo the engine runs",
        "!run_command sleep 0.1",
        "!say I have looked.",
    ]
    chosen = play.random.sample(lines, play.random.randint(1, 3))
    play.answer = answer
    await play.prompt(truth, numbered(play, truth, "\n".join([*chosen, "!stream 8 3"])))


async def question_left_open(play: Play, truth: Truth) -> None:
    """A question that is not answered until the turn is cancelled."""
    play.answer = None
    text = play.random.choice(("!write_to_file open.txt text", "!run_command echo never"))
    prompt = play.start_prompt(truth, numbered(play, truth, text))
    await play.wait(prompt, questions=1)
    if not prompt.done():
        await play.cancel(truth)
    await prompt
    play.answer = "allow_once"


async def long_command(play: Play, truth: Truth) -> None:
    """A command that is cancelled while it runs."""
    play.answer = "allow_once"
    prompt = play.start_prompt(truth, numbered(play, truth, "!run_command sleep 5"))
    await play.wait(prompt, updates=play.random.randint(1, 3))
    if not prompt.done():
        await play.cancel(truth)
    await prompt


async def cancelled_stream(play: Play, truth: Truth) -> None:
    """An answer that is cancelled somewhere in it, or before it begins."""
    prompt = play.start_prompt(truth, numbered(play, truth, "!stream 200 10"))
    await play.wait(prompt, updates=play.random.randint(0, 12))
    if not prompt.done():
        await play.cancel(truth)
    await prompt


async def failing_model(play: Play, truth: Truth) -> None:
    """A turn in which the model fails, perhaps in the middle."""
    first = play.random.choice(("", "!view_file file0.txt\n"))
    (play.world.workspace / "file0.txt").write_text("one steam three")
    await play.prompt(truth, numbered(play, truth, f"{first}!fail {play.random.choice(('400', '500', 'drop'))}"))


async def close_and_bring_back(play: Play, truth: Truth, method: str) -> None:
    """Close the session and open it again."""
    await play.close(truth)
    await play.bring_back(truth, method)


async def load_again(play: Play, truth: Truth) -> None:
    """Load a session that is open, which closes it first."""
    await play.bring_back(truth)


async def list_sessions(play: Play, truth: Truth) -> None:
    """List all sessions."""
    await play.list_sessions()


OPERATIONS = (
    Operation("text", 4, ask),
    Operation("stream", 4, stream),
    Operation("tools", 5, tools),
    Operation("tools, refused", 1, partial(tools, answer="reject_once")),
    Operation("question left open", 2, question_left_open),
    Operation("long command", 2, long_command),
    Operation("cancelled stream", 2, cancelled_stream),
    Operation("failing model", 1, failing_model),
    Operation("close and load", 2, partial(close_and_bring_back, method="session/load")),
    Operation("close and resume", 1, partial(close_and_bring_back, method="session/resume")),
    Operation("load again", 1, load_again),
    Operation("list", 1, list_sessions),
)

ANSWERED = tuple(
    operation for operation in OPERATIONS if operation.run in (stream, tools, question_left_open, long_command)
)
"""The operations in which there is most to interrupt."""
