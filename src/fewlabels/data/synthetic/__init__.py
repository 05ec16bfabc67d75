"""Synthetic images, so that every command runs without data."""
