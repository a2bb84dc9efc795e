"""Crash campaigns: what is promised must hold wherever the agent is killed and whatever call the disk refuses.

`python -m tests.crash` runs them; `tests.crash.test_short` is the short version. `docs/reliability.md` says what
is promised and what was measured.
"""
