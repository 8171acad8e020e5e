"""The run directory: written, read, merged, kept as a baseline."""
