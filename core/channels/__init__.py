"""Channels of an input layer: which layer it is, what its bands are, and how filters are mixed."""
