"""Tests of the pure modules: no harness, no disk, no protocol."""
