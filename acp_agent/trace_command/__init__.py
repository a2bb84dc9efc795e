"""`acp-agent trace FILE`: a wire trace as a readable sequence.

`records` reads the lines of a trace (see `acp_agent.wire.trace` for what is in them), `gist` says what a message
says in a few words, `sequence` pairs answers with their requests and folds streams, `command` prints. All but the
last are pure, and take one line at a time: a trace may be larger than memory.
"""

from acp_agent.trace_command.command import trace

__all__ = ["trace"]
