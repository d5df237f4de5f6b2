"""What there is to read: files, folders, lists and archives as one ordered list. Standard library only."""
