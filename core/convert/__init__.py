"""Convert a weight file to a different layout, dtype or format."""
