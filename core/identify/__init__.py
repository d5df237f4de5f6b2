"""Which architecture a file is of, from names and shapes."""
