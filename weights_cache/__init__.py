"""Locate, download, verify and read the weight file of a default config."""
