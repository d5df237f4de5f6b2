"""Registry, default configs, weight files, model building: everything between the command line and the models."""
