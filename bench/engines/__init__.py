"""What executes a cell: one backend for each engine, and the measuring that they share."""
