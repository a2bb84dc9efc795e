"""Tests of `acp_agent.wire`."""
