"""Find the inputs: files, folders, lists and archives as one ordered list. Standard library only."""
