"""Bringing a weight file into another layout, dtype or format."""
