"""One module per command, each a thin caller of the library; torch is imported only inside functions."""
