"""Build, load, check and save models in torch."""
