"""How bytes become requests and answers become bytes: the only package that knows the wire.

Layers, each importing only those before it: `errors` (what a client is told), `framing` (bytes to messages),
`requests` (the one that is being served), `gate` (which messages pass), `outgoing` (requests to the client),
`pipes` (threads that move bytes), `trace` (a record of what they move), `transport` (all of it, as the SDK wants
it), `lifetime` (serving until the end of the process), and `serving` (the SDK's connection between the transport
and the agent). `stdio` takes descriptors 0 and 1 for the protocol. All but `serving` are imported before the first
message is answered, so they import nothing that takes long.

Nothing is imported here: `stdio` must be usable before anything else of the program is loaded.
"""
