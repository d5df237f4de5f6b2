"""Pictures to numbers: finding inputs, reading them, preparing them for a model."""
