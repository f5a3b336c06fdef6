"""Data sets by name, their splits, batches and transforms."""
