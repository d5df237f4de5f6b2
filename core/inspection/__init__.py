"""Inspect weight files: summary, statistics, differences."""
