"""Figure functions: arrays or tables in, a matplotlib Figure out."""
