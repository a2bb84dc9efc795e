"""The SDK's configurations: the one that our server uses, and how any is bound to a stored conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from google.antigravity import LocalAgentConfig, models, types
from google.antigravity.connections.local.local_connection_config import BaseLocalAgentConfig
from google.antigravity.connections.local.local_openai_connection_config import LocalOpenAIAgentConfig
from google.antigravity.hooks import hooks, policy

from acp_agent.antigravity import arguments
from acp_agent.antigravity.mcp_servers import McpBridges
from acp_agent.steps import (
    Endpoint,
    GeminiEndpoint,
    HttpMcpServer,
    McpServer,
    OpenAIEndpoint,
    Question,
    QuestionAnswer,
    StdioMcpServer,
    ToolUse,
)
from sessions.leftovers import MARKER_VARIABLE


class AgentConfig(Protocol):
    """A configuration of the SDK for an agent with a harness on this machine, such as its `LocalAgentConfig`.

    Others keep their conversations somewhere else. The SDK ships no types; this is what is used of it.
    """

    workspaces: list[str]

    def model_copy(self, *, update: Mapping[str, Any]) -> Any:
        """A copy with other values."""


class Guard(Protocol):
    """Decides about the calls of tools that write, execute, or belong to an MCP server."""

    async def forbids(self, tool: ToolUse) -> bool:
        """Whether the session's mode forbids a call, whatever a user would say. Asked first."""

    async def allows(self, tool: ToolUse) -> bool:
        """Whether a call may run."""

    async def answers(self, questions: Sequence[Question]) -> Sequence[QuestionAnswer]:
        """What the user answers to questions of the model, one answer each."""


DEFAULT_MODEL = models.DEFAULT_MODEL
"""The Gemini model that is used if none is named."""

PLAN_MODE = (
    "The session is in plan mode, which is read-only: nothing may be changed, executed or sent until the user "
    "leaves it. Look, think, and describe what you would do, or write it down as an artifact."
)
"""What the model is told when the mode forbids a call."""

UNCLEAR = "Arguments must be spelled exactly as the tool declares them. Nothing was done; call the tool again."
"""What the model is told of a call that could be read in two ways."""

GUARDED_TOOLS = ("create_file", "edit_file", "run_command", "generate_image", "run_workflow")
"""The SDK's tools that write or execute: each asks before it runs."""

PRIMER_TITLE = "Transcript of this conversation"
"""The title of the section of the system instructions that holds a primer."""


@dataclass(frozen=True, slots=True)
class Place:
    """A conversation and where its files are. `primer` is the transcript that it was primed with, if it was."""

    conversation_id: str
    save_dir: Path
    app_data_dir: Path
    primer: str | None = None


def for_server(
    endpoint: Endpoint, *, workspaces: Sequence[Path], mcp_servers: Sequence[McpServer], guard: Guard
) -> AgentConfig:
    """The configuration of an agent that asks before it writes or executes anything.

    Args:
        endpoint: where the model is.
        workspaces: the folders it works in.
        mcp_servers: servers whose tools it has; all of them are guarded.
        guard: decides about its calls.
    """

    async def unclear(call: types.ToolCall) -> bool:
        return not call.server_name and arguments.is_unclear(str(call.name), call.args)

    async def forbidden(call: types.ToolCall) -> bool:
        return await guard.forbids(_tool(call))

    async def answer(call: Any) -> bool:
        return await guard.allows(_tool(call))

    async def interact(asked: types.AskQuestionInteractionSpec) -> types.QuestionHookResult:
        found = await guard.answers([_question(entry) for entry in asked.questions])
        return types.QuestionHookResult(responses=[_response(answer) for answer in found])

    servers = [_sdk_server(server) for server in mcp_servers]
    policies: list[Any] = [
        policy.deny(tool, when=unclear, name=f"unclear: {tool}", reason=UNCLEAR) for tool in GUARDED_TOOLS
    ]
    for name, target in [
        *((tool, tool) for tool in GUARDED_TOOLS),
        *((server.name, server) for server in servers),
    ]:
        # The SDK gives the whole call only to a predicate whose parameter has the annotation of a call.
        refusing = policy.deny(target, when=forbidden, name=f"plan mode: {name}", reason=PLAN_MODE)
        asking = policy.ask_user(target, handler=answer, name=name)
        for made in (refusing, asking):
            policies.extend(made if isinstance(made, list) else [made])
    policies.append(policy.allow("*"))
    common: dict[str, Any] = {
        "workspaces": [str(path) for path in workspaces],
        "capabilities": types.CapabilitiesConfig(
            agent_behavior=types.AgentBehavior.INTERACTIVE,
            # Questions are off by default, for agents that nobody watches.
            enabled_tools=[*types.BuiltinTools.default(), types.BuiltinTools.ASK_QUESTION],
        ),
        "hooks": [hooks.on_interaction(interact)],
        "policies": policies,
        "mcp_servers": servers,
    }
    if isinstance(endpoint, OpenAIEndpoint):
        return _typed(LocalOpenAIAgentConfig(model=endpoint.model, base_url=endpoint.base_url, **common))
    thinking = models.ThinkingLevel(endpoint.thinking) if endpoint.thinking else None
    options = types.GeminiModelOptions(thinking_level=thinking)
    if isinstance(endpoint, GeminiEndpoint):
        key = endpoint.api_key.reveal()
        served = types.GeminiAPIEndpoint(base_url=endpoint.base_url, api_key=key, options=options)
        return _typed(LocalAgentConfig(api_key=key, models=[_text_model(endpoint.model, served)], **common))
    vertex = types.VertexEndpoint(options=options)
    return _typed(LocalAgentConfig(vertex=True, models=[_text_model(endpoint.model, vertex)], **common))


def _text_model(name: str | None, endpoint: Any) -> Any:
    return types.ModelTarget(name=name or DEFAULT_MODEL, types=[types.ModelType.TEXT], endpoint=endpoint)


def _tool(call: Any) -> ToolUse:
    given = dict(call.args)
    args = given if call.server_name else arguments.read(str(call.name), given)
    return ToolUse(name=str(call.name), args=args, server=call.server_name)


def _question(entry: Any) -> Question:
    # `is_multi_select` is what the SDK's value has; the SDK never sets it, whatever the model asked (0.1.22).
    options = tuple(str(option.text) for option in entry.options)
    return Question(str(entry.question), options, multiple=bool(entry.is_multi_select))


def _response(answer: QuestionAnswer) -> Any:
    return types.QuestionResponse(
        selected_option_ids=[str(place) for place in answer.chosen],
        freeform_response=answer.text,
        skipped=answer.skipped,
    )


def _typed(config: Any) -> AgentConfig:
    return cast("AgentConfig", config)


def check(config: AgentConfig) -> None:
    """Raises TypeError if the agent of this configuration has no harness on this machine."""
    if not isinstance(config, BaseLocalAgentConfig):
        raise TypeError(
            f"{type(config).__name__} has no harness on this machine, so nothing here could be resumed"
        )


def for_conversation(config: AgentConfig, place: Place, *, exists: bool, bridges: McpBridges) -> Any:
    """The same configuration, bound to one stored conversation.

    Its harness is marked with the conversation, so that what it leaves behind is found; MCP servers are reached
    through bridges, so that none of them can fail a turn and nothing that is secret is stored.
    """
    mode = types.SessionContinuationMode
    given: Any = config
    return given.model_copy(
        update={
            "conversation_id": place.conversation_id,
            "session_continuation_mode": mode.RESUME if exists else mode.CREATE_ONLY,
            "save_dir": str(place.save_dir),
            "app_data_dir": str(place.app_data_dir),
            "env": {**(given.env or {}), MARKER_VARIABLE: place.conversation_id},
            "mcp_servers": _bridged(given.mcp_servers, bridges),
            "system_instructions": _primed(given.system_instructions, place.primer),
        }
    )


def _bridged(servers: Sequence[Any], bridges: McpBridges) -> list[Any]:
    commands = bridges.commands([_server(server) for server in servers])
    return [
        types.McpStdioServer(
            name=server.name,
            command=program,
            args=arguments,
            timeout_seconds=server.timeout_seconds,
            enabled_tools=server.enabled_tools,
            disabled_tools=server.disabled_tools,
            force_all_tools_eager=server.force_all_tools_eager,
        )
        for server, (program, arguments) in zip(servers, commands, strict=True)
    ]


def _server(server: Any) -> McpServer:
    if isinstance(server, types.McpStdioServer):
        return StdioMcpServer(server.name, server.command, tuple(server.args or ()), dict(server.env or {}))
    return HttpMcpServer(server.name, server.url, dict(server.headers or {}))


def _sdk_server(server: McpServer) -> Any:
    if isinstance(server, StdioMcpServer):
        return types.McpStdioServer(
            name=server.name, command=server.command, args=list(server.args), env=server.env
        )
    return types.McpStreamableHttpServer(name=server.name, url=server.url, headers=server.headers)


def _primed(instructions: Any, primer: str | None) -> Any:
    if primer is None:
        return instructions
    section = types.SystemInstructionSection(title=PRIMER_TITLE, content=primer)
    if isinstance(instructions, types.CustomSystemInstructions):
        return types.CustomSystemInstructions(text=f"{instructions.text}\n\n# {PRIMER_TITLE}\n\n{primer}")
    if isinstance(instructions, types.TemplatedSystemInstructions):
        return instructions.model_copy(update={"sections": [*instructions.sections, section]})
    own = [types.SystemInstructionSection(content=instructions)] if instructions else []
    return types.TemplatedSystemInstructions(sections=[*own, section])
