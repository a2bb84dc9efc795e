"""What is logged: events with facts, one a line, with the session and the turn that they belong to.

`events` names them all, `saying` logs one, `scope` knows the session and the turn, `line` makes a line of an event
and reads it back, `file` appends lines to a file that several processes share, `standard_error` writes for people
and waits for nobody, `setup` says what goes where. Nothing here takes long to import.
"""

from acp_agent.logs.events import Event
from acp_agent.logs.saying import ms_since, say

__all__ = ["Event", "ms_since", "say"]
