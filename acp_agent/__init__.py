"""The ACP agent: speaks the Agent Client Protocol to an IDE and drives the Antigravity SDK."""

__version__ = "0.1.0"
