"""Keeps conversations safe: what is on disk, what it is worth, and what can be restored.

Nothing in this package knows the Agent Client Protocol or the SDK; all of it can be tested with files alone.
"""
