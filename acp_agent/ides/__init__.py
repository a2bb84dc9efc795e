"""The agent in the settings of IDEs: where they are, what an entry looks like, and how it gets in and out.

`machine`, `catalogue`, `entries`, `snippets` and `jsonc` are pure; `launching` asks which command starts this
agent for good, `settings_file` reads and writes files, `inspection` says what is set up.
"""
