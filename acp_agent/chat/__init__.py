"""The terminal client: an ACP client that talks to a separate agent process and shows what it says."""
