"""Identify a file's architecture by tensor names and shapes."""
