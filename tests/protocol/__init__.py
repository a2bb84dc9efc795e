"""What the protocol asks of every message, from the protocol's own schema; nothing here knows the agent."""
