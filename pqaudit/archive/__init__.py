"""Archives of captures: what was read of them, kept for the next run."""
