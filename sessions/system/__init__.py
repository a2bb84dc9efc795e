"""What Linux, macOS and Windows do differently with files and locks, a module each.

No other module of this package asks on which system it runs (a test holds that), and callers cannot tell. Each
module has the branches beside each other and says where they differ; docs/platforms.md says which of them have
been run.
"""
