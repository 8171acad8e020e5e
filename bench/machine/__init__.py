"""The machine: what it is, clocks and memory meters."""
