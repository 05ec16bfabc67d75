"""Evaluation of a trained network: analyses, comparisons, report.html."""
