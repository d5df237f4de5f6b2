"""Facts about architectures: rows, default configs, names. No model code."""
