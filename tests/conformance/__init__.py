"""The requirements of the protocol's test kit, each tried on the real agent process: `make conformance`."""
