"""Tests. `agent` drives the whole; the other folders test one package each."""
