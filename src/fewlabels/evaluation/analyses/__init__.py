"""Analyses: one file each, chosen by `analyses=[…]`; see `evaluation.result.Analysis`."""
