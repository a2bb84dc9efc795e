"""The benchmark does what it times."""
