"""The terminal client: pure parts, the connection over real pipes, and both ways of using it."""
