"""Decode every image once into a memory-mapped array, and download archives of images."""
