"""Weight files as bytes: opened with suspicion, written whole or not at all."""
