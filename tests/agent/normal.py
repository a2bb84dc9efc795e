"""The one place where what differs between two runs is replaced, so that transcripts can be compared."""

from __future__ import annotations

import json
import re

from pydantic import JsonValue

from tests.agent.driver import Agent, Json, World

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ID = re.compile(r"\b[0-9a-f]{32}\b")
_QUOTED_PATH = re.compile(r"(“[^”\n]*<workspace>)[^”\n]*”")
_ASIDE = re.compile(r"aside/[^\"/]+")


def transcript(world: World, agent: Agent, answers: list[Json]) -> str:
    """Everything that crossed the wire from the agent, coalesced as a client coalesces it, one JSON value each.

    Chunks of one message are joined, since where the network cuts them is chance, as is what was seen of a command
    before its end, and when tokens are counted: those are left out, and nothing else is.
    """
    lines: list[JsonValue] = []
    for message in agent.received:
        update = message["update"]
        assert isinstance(update, dict)
        kind = update["sessionUpdate"]
        if kind == "usage_update" or (kind == "tool_call_update" and "status" not in update):
            continue
        last = lines[-1] if lines else None
        if isinstance(last, dict) and _joins(last, update):
            previous, content = last["content"], update["content"]
            assert isinstance(previous, dict)
            assert isinstance(content, dict)
            previous["text"] = f"{previous['text']}{content['text']}"
        else:
            lines.append(json.loads(json.dumps(update)))
    lines.extend({"question": question} for question in agent.questions)
    lines.extend({"answer": answer} for answer in answers)
    text = "\n".join(json.dumps(line, indent=1, ensure_ascii=False) for line in lines)
    text = text.replace(str(world.workspace), "<workspace>").replace(str(world.data_dir), "<data>")
    # An excerpt that the model makes is cut at a length, so where it ends depends on how long the path is.
    cut = f"(<workspace>|{re.escape(str(world.root.parent))})[^”…\\n]*…"
    text = re.sub(cut, "<workspace>…", text)
    text = _QUOTED_PATH.sub(r"\1…”", text)
    text = _ASIDE.sub("aside/<when-why>", _ID.sub("<id>", _TIME.sub("<time>", text)))
    return re.sub(r'"(ms|pid)": [\d.]+', r'"\1": "<number>"', text)


def _joins(last: dict[str, JsonValue], update: Json) -> bool:
    return (
        update["sessionUpdate"] in ("agent_message_chunk", "agent_thought_chunk")
        and last.get("sessionUpdate") == update["sessionUpdate"]
        and last.get("messageId") == update["messageId"]
        and last.get("_meta") == update.get("_meta")
    )
