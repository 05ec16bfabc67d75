"""Data modules: one file per dataset, what they share in `base`, `store`, `splits` and `folder`."""
