"""Splits: what stays together, which image is in which split, seen and unseen classes, what was trained on."""
