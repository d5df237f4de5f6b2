"""From a default config to a weight file on disk: locate, download, verify, read."""
