"""How bytes become requests and answers become bytes: the only package that knows the wire.

Layers, each importing only those before it: `errors` (what a client is told), `framing` (bytes to messages),
`gate` (which messages pass), `pipes` (threads that move bytes), `transport` (all of it, as the SDK wants it),
`lifetime` (serving until the end of the process). `stdio` takes descriptors 0 and 1 for the protocol.

Nothing is imported here: `stdio` must be usable before anything else of the program is loaded.
"""
