"""Formats of labelled images: what predictions are also written as, and exports that labels are read from."""
