"""`python -m acp_agent` is `acp-agent`."""

from acp_agent.cli import main

main()
