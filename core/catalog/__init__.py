"""Choose models by their facts: a table of columns, conditions over it, the best for their cost, a chart of these."""
