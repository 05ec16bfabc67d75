"""From images to counts: which images to label next."""
