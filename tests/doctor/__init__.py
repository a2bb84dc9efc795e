"""Tests of `acp-agent doctor`."""
