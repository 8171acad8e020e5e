"""Is it slower than before? Two sides measured in turns, and the verdict."""
