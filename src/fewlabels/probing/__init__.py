"""Measurements on frozen embeddings: probes, label efficiency, class geometry, representation quality.

The selection of images to label (TypiClust, ProbCover) and label propagation belong here, as `selection.py` and
`propagation.py`; they do not exist yet.
"""
