"""From a request to the reply: the offline model itself. Pure and deterministic; it never raises.

Without directives the answer states what the request held: how many of the user's messages, the first and the
latest of them, images, the agent's note. The count and the first message make it visible to anyone whether a
resumed session still knows its beginning.
"""

import re
from collections.abc import Iterator

from acp_agent.offline.directives import Drop, Fail, Help, Say, Stall, Stream, TextDirective, Think
from acp_agent.offline.forms import FORMS, Malformed
from acp_agent.offline.model_request import Message, ModelRequest, Role, UserTurn
from acp_agent.offline.reply import Answer, Chunk, Ending, Failure, Reply
from acp_agent.offline.script import ClosingMessage, Script, read_script
from acp_agent.offline.tools import NoWorkspaceError, tool_call

_IDENTITY = "I am the offline model: no language model, only a program that says what it received."
_HINT = "A line that starts with ! makes me use a tool; !help lists what I can do."
_STALLED = "From here on I say nothing until you go away. "
_DROPPED = "In the middle of this the connection "

_MESSAGE_EXCERPT = 60
_NOTE_EXCERPT = 300
_TOOL_EXCERPT = 120
_NOTICE_EXCERPT = 300

# The harness shortens the answers of a compaction from the end, so this comes first in them.
_STEPS_DONE = "Steps of the latest prompt already done: {}."
_READ_STEPS_DONE = re.compile(re.escape(_STEPS_DONE).replace(r"\{\}", r"(\d+)"))
_COMPACTED = "# Resuming from a compaction"
_NOTICE = re.compile(r"<SYSTEM_MESSAGE>\n(.*)\n</SYSTEM_MESSAGE>", re.DOTALL)
_TIMESTAMPS = ("Created At: ", "Completed At: ")


def decide(request: ModelRequest) -> Reply:
    """The reply to `request`; equal requests get equal replies."""
    if not request.tools_allowed:
        return _say(_summary(request))
    turns = request.turns
    script = read_script(turns[-1].prompt) if turns else Script((), ClosingMessage())
    if isinstance(script, Malformed):
        return _say(*_explain(script))
    done = steps_done(request)
    if done >= len(script.tools):
        return _close(request, script)
    step = script.tools[done]
    try:
        call = tool_call(step.tool, request.workspaces, f"call_{len(request.messages)}")
    except NoWorkspaceError as error:
        return _say(str(error))
    return Answer(thought=_thought(step.texts), chunks=tuple(_chunks(step.texts)), tool_call=call)


def steps_done(request: ModelRequest) -> int:
    """How many tools have answered since the latest prompt, also where a compaction has removed those answers."""
    done = 0
    for message in request.since_last_turn:
        if message.role is Role.TOOL:
            done += 1
        elif message.text.startswith(_COMPACTED) and (carried := _READ_STEPS_DONE.findall(message.text)):
            done = int(carried[-1])  # the user's own words come before the summary
    return done


def excerpt(text: str, limit: int) -> str:
    """`text` on one line, at most `limit` characters long; what is cut is shown by an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _close(request: ModelRequest, script: Script) -> Reply:
    closing = script.closing
    chunks = tuple(_chunks(closing.texts))
    thought = _thought(closing.texts)
    match closing.last:
        case Fail(status, message):
            return Failure(status, message)
        case Help():
            return _say(*_help())
        case Drop():
            return Answer(thought, chunks or (Chunk(_DROPPED),), ending=Ending.DROP)
        case Stall():
            return Answer(thought, chunks or (Chunk(_STALLED),), ending=Ending.STALL)
    if not chunks:
        lines = _tool_report(request) if script.tools else _statement(request)
        chunks = tuple(Chunk(line) for line in [*lines, *_notices(request)])
    return Answer(thought, chunks)


def _say(*texts: str) -> Answer:
    return Answer(chunks=tuple(Chunk(text) for text in texts))


def _thought(texts: tuple[TextDirective, ...]) -> str:
    return "\n".join(directive.text for directive in texts if isinstance(directive, Think))


def _chunks(texts: tuple[TextDirective, ...]) -> Iterator[Chunk]:
    """Each directive's text begins on a line of its own."""
    start = ""
    for directive in texts:
        match directive:
            case Say(text):
                yield Chunk(start + text)
            case Stream(words, pause_ms):
                yield Chunk(f"{start}word1")
                yield from (Chunk(f" word{number}", delay=pause_ms / 1000) for number in range(2, words + 1))
            case Think():
                continue
        start = "\n"


def _statement(request: ModelRequest) -> Iterator[str]:
    turns = request.turns
    yield f"{_IDENTITY} "
    if not turns:
        yield "I can see none of your messages. "
    elif len(turns) == 1:
        yield f"I can see 1 of your messages: {_quoted(turns[0].prompt, _MESSAGE_EXCERPT)}. "
    else:
        first, latest = (_quoted(turn.prompt, _MESSAGE_EXCERPT) for turn in (turns[0], turns[-1]))
        yield f"I can see {len(turns)} of your messages; the first was {first} and the latest is {latest}. "
    if turns:
        yield from (f"{sentence} " for sentence in _attachments(turns[-1]))
    if any(message.role is Role.USER and message.text.startswith(_COMPACTED) for message in request.messages):
        yield "Older messages reached me only as a summary. "
    yield _HINT


def _attachments(turn: UserTurn) -> Iterator[str]:
    if turn.images:
        kinds = "; ".join(f"{image.mime}, {image.size} bytes" for image in turn.images)
        plural = "s" if len(turn.images) > 1 else ""
        yield f"Your latest message came with {len(turn.images)} image{plural} ({kinds})."
    if turn.note is not None:
        yield f"I was also given a note: {_quoted(turn.note, _NOTE_EXCERPT)}."


def _tool_report(request: ModelRequest) -> Iterator[str]:
    yield "The steps of your prompt are finished."
    for message in request.since_last_turn:
        if message.role is Role.TOOL:
            yield f"\n{message.tool_name} answered: {_quoted(_first_line(message), _TOOL_EXCERPT)}"
    yield from (f"\n{sentence}" for sentence in _attachments(request.turns[-1]))


def _first_line(message: Message) -> str:
    """The first line that says something: the harness begins each tool answer with the times of day."""
    lines = message.text.splitlines()
    return next((line for line in lines if line.strip() and not line.startswith(_TIMESTAMPS)), "")


def _notices(request: ModelRequest) -> Iterator[str]:
    """What the harness told in its own name after the prompt, such as the end of a background command."""
    for message in request.since_last_turn:
        if message.role is Role.USER and (notice := _NOTICE.search(message.text)):
            yield f"\nThe harness told me: {_quoted(notice[1], _NOTICE_EXCERPT)}"


def _quoted(text: str, limit: int) -> str:
    return f"“{excerpt(text, limit)}”"


def _summary(request: ModelRequest) -> str:
    done = _STEPS_DONE.format(steps_done(request))
    seen = f"The offline model remembers nothing else; {len(request.turns)} user turns were in view."
    return f"<summary>{done} {seen}</summary>"


def _explain(malformed: Malformed) -> Iterator[str]:
    yield f"I cannot do {_quoted(malformed.line, _TOOL_EXCERPT)}, and have done nothing. {malformed.problem}"
    if malformed.usage is not None:
        yield f" Write it as: `{malformed.usage}`"


def _help() -> Iterator[str]:
    yield f"{_IDENTITY} These lines in a prompt are directives, done in order:\n"
    for form in FORMS.values():
        yield f"\n- `{form.usage}` {form.meaning}"
