"""The terminal client as a person has it: the real agent with its offline model, in a real terminal (tmux)."""
