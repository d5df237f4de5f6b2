"""Key layouts of other ecosystems, as tables that run both ways."""
