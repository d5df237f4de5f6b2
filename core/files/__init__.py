"""Weight files as bytes: read without trusting them, written completely or not at all."""
