"""Pure functions from tables to tables: summary, intervals, claims, growth, costs, roofline."""
