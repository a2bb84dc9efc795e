"""Tests of the whole agent: real process, real pipes, real harness."""
