"""The page of a session, opened in a real browser."""
