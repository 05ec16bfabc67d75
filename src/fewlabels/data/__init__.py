"""Data modules: one module per dataset, built on `base`, `splits`, `batches` and `image_store`."""
