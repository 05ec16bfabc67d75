"""Figure functions: arrays in, a matplotlib `Figure` out."""
