"""The command line: without a command it serves ACP on stdio, `chat` is the terminal client."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from acp_agent import __version__, config
from acp_agent.appending import CannotAppend
from acp_agent.config import Announce, BadSettings, LogLevel, Settings, TraceContent
from acp_agent.options import Mode
from sessions.outcomes import Outcome
from sessions.resume import OnInterrupted, OnLeftovers

if TYPE_CHECKING:
    from acp_agent.wire.errors import JsonObject
    from acp_agent.wire.lifetime import ServedAgent
    from acp_agent.wire.trace import Trace
    from acp_agent.wire.transport import StdioTransport

log = logging.getLogger(__name__)

THREADS = 64
"""How many things may wait on threads at once; they are made as they are needed."""

_REQUIRABLE = [outcome.value for outcome in Outcome if outcome is not Outcome.FRESH]


_LATER: Final[Mapping[str, str]] = {
    "doctor": "acp_agent.doctor:doctor",
    "install": "acp_agent.install_command:install",
    "login": "acp_agent.login_command:login",
    "logout": "acp_agent.login_command:logout",
    "sessions": "acp_agent.sessions_command:sessions",
    "trace": "acp_agent.trace_command:trace",
    "uninstall": "acp_agent.install_command:uninstall",
}
"""The commands that a client never waits for, and where they are: imported only when they are asked for."""


_READS_SETTINGS_ITSELF: Final = "doctor"
"""The command that is for settings, too, that cannot be used; it takes them from the context of the group."""


class _Commands(click.Group):
    """The commands of this module, and those of `_LATER`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        module, _, name = _LATER[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data-dir", metavar="DIR", help="Folder for sessions. Default: the platform's data folder.")
@click.option("--model", metavar="NAME", help="Model name. Default: the SDK's, or the endpoint's 'default'.")
@click.option(
    "--base-url", metavar="URL", help="An OpenAI-compatible endpoint, such as http://localhost:11434/v1."
)
@click.option("--gemini-url", metavar="URL", help="Where the Gemini API is, if it is not Google's own address.")
@click.option("--offline", is_flag=True, default=None, help="Use the embedded offline model: no network, no key.")
@click.option("--require", type=click.Choice(_REQUIRABLE), help="Refuse to load a session with less than this.")
@click.option(
    "--interrupted",
    type=click.Choice([policy.value for policy in OnInterrupted]),
    help="Keep what is stored of a turn that was cut, or roll it back.",
)
@click.option(
    "--leftovers",
    type=click.Choice([policy.value for policy in OnLeftovers]),
    help="End the commands that a cut turn left running, or only report them.",
)
@click.option(
    "--announce", type=click.Choice([a.value for a in Announce]), help="When to tell how a session was resumed."
)
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), help="What new sessions may do without asking."
)
@click.option(
    "--hibernate", type=float, metavar="SECONDS", help="Close the harness of a session that is idle for so long."
)
@click.option(
    "--silence", type=float, metavar="SECONDS", help="Give a turn up in which nothing comes for so long."
)
@click.option(
    "--log-level", type=click.Choice([level.value for level in LogLevel]), help="Detail on standard error."
)
@click.option("--log-file", metavar="FILE", help="Also log to this file, one line an event; it is rotated.")
@click.option(
    "--trace", metavar="FILE", help="Record every message of the protocol in this file, without secrets."
)
@click.option(
    "--trace-content",
    type=click.Choice([content.value for content in TraceContent]),
    help="What a trace holds of texts: all, or how long they are.",
)
@click.option("--config", metavar="FILE", help="TOML file with these settings, with underscores for dashes.")
@click.version_option(__version__, prog_name="acp-agent")
@click.pass_context
def main(context: click.Context, /, **flags: object) -> None:
    """An ACP agent for the Antigravity SDK that tells exactly what a resumed session remembers.

    Without a command it serves the Agent Client Protocol on standard input and output, for an IDE. Each option is
    also an environment variable (--data-dir: ACP_AGENT_DATA_DIR) and a key in the TOML file (data_dir).
    """
    if context.invoked_subcommand == _READS_SETTINGS_ITSELF:
        return
    try:
        settings = config.load(flags, os.environ)
    except BadSettings as error:
        raise click.UsageError(str(error)) from error
    context.obj = settings
    if context.invoked_subcommand is None:
        try:
            _serve(settings)
        except CannotAppend as error:
            raise click.UsageError(f"The log or trace cannot be kept: {error}.") from error


@main.command()
@click.option("--load", "session_id", metavar="ID", help="Load this stored session instead of starting a new one.")
@click.option("--last", is_flag=True, help="Load the session that was used last in this folder.")
@click.option("--pick", is_flag=True, help="Pick one of this folder's sessions and load it.")
@click.option("--cwd", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Folder to work in.")
@click.option("--no-color", is_flag=True, help="No colours; the variable NO_COLOR says the same.")
@click.option("--offline", is_flag=True, help="The same as --offline before the command.")
@click.pass_obj
def chat(
    settings: Settings,
    *,
    session_id: str | None,
    last: bool,
    pick: bool,
    cwd: Path | None,
    no_color: bool,
    offline: bool,
) -> None:
    """Talk to the agent in the terminal, over the real protocol.

    Without a terminal on standard input it plays a fixed script that kills and resumes a session, and exits with 0
    only if the model remembered exactly what the report said.
    """
    from acp_agent.chat.command import ChatOptions, Start, run_chat  # noqa: PLC0415  (no server needs a terminal)

    if (session_id is not None) + last + pick > 1:
        raise click.UsageError("--load, --last and --pick exclude each other.")
    settings = replace(settings, offline=settings.offline or offline)
    options = ChatOptions(
        agent_command=(sys.executable, "-m", "acp_agent", *_arguments(settings)),
        cwd=(cwd or Path.cwd()).resolve(),
        start=session_id or (Start.PICK if pick else Start.LAST if last else Start.NEW),
        interactive=sys.stdin.isatty(),
        colour=not no_color,
    )
    sys.exit(asyncio.run(run_chat(options)))


def _arguments(settings: Settings) -> list[str]:
    """The flags that give another process the same settings."""
    arguments: list[str] = []
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        if value != setting.default:
            flag = f"--{setting.name.replace('_', '-')}"
            arguments += [flag] if value is True else [flag, str(value)]
    return arguments


def _serve(settings: Settings) -> None:
    # Before the imports below: from here on nothing but the protocol reaches the real standard output.
    from acp_agent.wire.stdio import claim_stdin, claim_stdout  # noqa: PLC0415

    protocol_in, protocol_out = claim_stdin(), claim_stdout()
    _keep_log(settings)
    from acp_agent.wire.lifetime import serve  # noqa: PLC0415
    from acp_agent.wire.transport import StdioTransport  # noqa: PLC0415

    trace: Trace | None = None
    if settings.trace is not None:
        from acp_agent.wire import trace as tracing  # noqa: PLC0415

        trace = tracing.Trace(settings.trace, content=settings.trace_content is TraceContent.TEXT)

    async def run() -> None:
        # Sessions that wait on a thread, for a disk or a dying harness, must not use up the threads of the others.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        with contextlib.ExitStack() as stack:
            transport = StdioTransport(protocol_in, protocol_out, partial(_introduce, settings), trace)
            await serve(transport, partial(_load, settings, transport, stack))

    asyncio.run(run())


def _keep_log(settings: Settings) -> None:
    """Say what this process is, to whoever reads the log.

    Raises:
        CannotAppend: the log file cannot be written.
    """
    from acp_agent import redaction  # noqa: PLC0415
    from acp_agent.logs import Event, say, setup  # noqa: PLC0415

    redaction.process.learn(redaction.secrets_in_environment(os.environ))
    setup.configure(logging.getLevelNamesMapping()[settings.log_level.value.upper()], settings.log_file)
    facts = {name: value for name in config.NAMES if (value := getattr(settings, name)) is not None}
    shown = {name: value if isinstance(value, int | float) else str(value) for name, value in facts.items()}
    python = ".".join(map(str, sys.version_info[:3]))
    say(log, Event.STARTED, version=__version__, python=python, platform=sys.platform, **shown)


def _introduce(settings: Settings, params: JsonObject) -> JsonObject:
    """Answer `initialize`. Ways to log in are offered only while there are no credentials."""
    from acp_agent import credentials, handshake  # noqa: PLC0415

    needed = config.needs_kept_key(settings, os.environ) and credentials.kept() is None
    return handshake.answer(params, auth_methods=credentials.auth_methods(params) if needed else ())


def _load(settings: Settings, transport: StdioTransport, stack: contextlib.ExitStack) -> Callable[[], ServedAgent]:
    """Import what takes long, which is what talks to the model; what is returned makes the agent."""
    began = time.perf_counter()
    from importlib import metadata  # noqa: PLC0415

    from acp_agent.logs import Event, ms_since, say  # noqa: PLC0415
    from acp_agent.server import AgentServer  # noqa: PLC0415

    offline_url: str | None = None
    if settings.offline:
        from acp_agent.offline.server import OfflineModel  # noqa: PLC0415

        offline_url = stack.enter_context(OfflineModel(record=False)).gemini_url
    versions = {"antigravity": "google-antigravity", "acp": "agent-client-protocol"}
    found = {name: metadata.version(package) for name, package in versions.items()}
    say(log, Event.LOADED, ms=ms_since(began), **found)
    return partial(AgentServer, settings, transport, offline_url=offline_url)
