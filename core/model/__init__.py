"""Models in torch: built, loaded, checked, saved."""
