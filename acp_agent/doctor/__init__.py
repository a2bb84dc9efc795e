"""`acp-agent doctor`: one module a group of checks, one that makes them, one that shows what they found."""

from acp_agent.doctor.command import doctor

__all__ = ["doctor"]
