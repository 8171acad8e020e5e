"""From a plan to a finished run directory: scheduler, worker processes, progress."""
