"""Turn images into arrays: find inputs, read them, prepare them for a model."""
