"""Key layouts of other ecosystems, as tables that work in both directions."""
