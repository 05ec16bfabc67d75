"""Pretraining methods: one file each, what they share in `base` and `heads`."""
