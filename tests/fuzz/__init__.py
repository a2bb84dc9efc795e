"""Hostile input: seeded campaigns of mutated requests and raw bytes against the real agent process.

`lines` makes the input from a seed, `ledger` knows what every line must be answered with, `client` drives one
agent process, and `campaign` runs processes one after the other and looks at what they left behind. `python -m
tests.fuzz` is the command; docs/reliability.md says what is promised.
"""
