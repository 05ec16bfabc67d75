"""Build what a configuration names, train it, resume it, and write its run directory."""
