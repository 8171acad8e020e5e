"""What is measured: cells, budgets, engines, shards, and how a command line becomes a plan."""
