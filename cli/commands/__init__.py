"""One module per command, each a thin caller of the library; imports of torch stay inside the functions."""
