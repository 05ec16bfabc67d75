"""From images to labels: which images to label next, and a page to label them on."""
