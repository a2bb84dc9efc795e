"""The baseline: the SDK by itself, in a process of its own that is driven by lines of JSON.

The only module here that imports the SDK. `python -m bench.raw_sdk import [MODULE …]` imports it, and the
modules named, says so and ends. `python -m bench.raw_sdk serve` does what it is asked, one request a line, and
answers each with a line: `open` resumes a conversation, `turn` runs a turn in it. Nothing is checked, kept or
synced.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys

from google.antigravity import Agent, types
from google.antigravity.connections.local.local_openai_connection_config import LocalOpenAIAgentConfig
from google.antigravity.hooks import policy


def answer(**values: object) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def turn(agent: Agent, text: str) -> str:
    """Run a turn until the harness is idle; the model's last message."""
    conversation = agent.conversation
    await conversation.send(text)
    began, last = False, ""
    while True:
        async for step in conversation.receive_steps():
            # A stream may end early, on the idle of the turn before; the prompt's own step marks the beginning.
            began = began or step.source.value == "USER"
            if step.source.value == "MODEL":
                last = step.content
        if began and conversation.is_idle:
            return last
        await asyncio.sleep(0.002)


async def serve() -> None:
    """Answer requests until the input ends, then close the conversation in order."""
    agent: Agent | None = None
    answer(ready=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        if request["do"] == "open":
            config = LocalOpenAIAgentConfig(
                model=request["model"],
                base_url=request["base_url"],
                conversation_id=request["conversation_id"],
                session_continuation_mode=types.SessionContinuationMode.RESUME,
                save_dir=request["save_dir"],
                app_data_dir=request["app_data_dir"],
                workspaces=[request["workspace"]],
                capabilities=types.CapabilitiesConfig(agent_behavior=types.AgentBehavior.INTERACTIVE),
                policies=[policy.allow("*")],
            )
            agent = Agent(config)
            await agent.__aenter__()
            answer(steps=len(agent.conversation.history))
        else:
            assert agent is not None
            answer(text=await turn(agent, request["text"]))
    if agent is not None:
        await agent.__aexit__(None, None, None)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["import", *modules]:
            for name in modules:
                importlib.import_module(name)
            answer(imported=True)
        case ["serve"]:
            asyncio.run(serve())
        case _:
            sys.exit("usage: python -m bench.raw_sdk import [MODULE …] | serve")
