"""What is known of architectures: rows, default configs, names; no code of a model."""
