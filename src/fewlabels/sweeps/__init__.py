"""Sweeps: what each job did, summaries over jobs, and comparisons of finetunings."""
