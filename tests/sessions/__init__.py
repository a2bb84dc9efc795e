"""Tests of the storage half: everything here is files, nothing is the harness."""
