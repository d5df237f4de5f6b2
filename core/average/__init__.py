"""Average weight files of one architecture."""
