"""Tests of `acp_agent.system` and `sessions.system`: the branches of this system, and those of others."""
