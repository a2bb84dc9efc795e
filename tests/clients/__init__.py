"""Clients of others against the real agent: `make test-clients`."""
