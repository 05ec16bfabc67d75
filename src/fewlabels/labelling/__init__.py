"""From images to counts: which images to label, a page to label them on, predictions for the others."""
