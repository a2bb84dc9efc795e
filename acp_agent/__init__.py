"""The ACP agent: speaks the Agent Client Protocol to an IDE and drives the Antigravity SDK."""
