"""From few labels to all images: labels spread over the graph of nearest neighbours."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

NEIGHBOURS = 15
ALPHA = 0.8
"""How much of an image's label comes from its neighbours in each step (Zhou et al. 2004, §2)."""
MAX_STEPS = 100


def neighbour_graph(points: NDArray[np.float32], neighbours: int = NEIGHBOURS) -> csr_matrix:
    """The symmetric graph of nearest neighbours of points [N, D], which `spread` needs: weight 1 if both are, else 1/2.

    Symmetric as Zhou et al. 2004 have it: scikit-learn's own graph is directed, and an image that is nobody's neighbour
    would give and get nothing.
    """
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=min(neighbours, len(points) - 1)).fit(points)
    graph = model.kneighbors_graph(mode="connectivity")
    return csr_matrix((graph + graph.T) / 2)


def spread(
    graph: csr_matrix, rows: NDArray[np.int64], labels: NDArray[np.int64], classes: int, *, alpha: float = ALPHA
) -> NDArray[np.float64]:
    """Spread the labels of some images over the graph to all: LabelSpreading (Zhou et al. 2004).

    Args:
        graph: [N, N], see `neighbour_graph`.
        rows: int64 [n] of the labelled images.
        labels: int64 [n] their classes.
        classes: K.
        alpha: In (0, 1); the given labels count 1 - alpha.

    Returns:
        float64 [N, K] probabilities; where no label reaches, the share of each class among the labels.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.semi_supervised import LabelSpreading

    given = np.full(graph.shape[0], -1, np.int64)
    given[rows] = labels
    present = np.unique(labels)
    shares = np.bincount(labels, minlength=classes) / len(labels)
    probabilities = np.zeros((graph.shape[0], classes))
    model = LabelSpreading(kernel=lambda _, __: graph, alpha=alpha, max_iter=MAX_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.zeros((len(given), 1)), given)
    probabilities[:, present] = model.label_distributions_
    probabilities[probabilities.sum(1) == 0] = shares
    return probabilities


def classify(probabilities: NDArray[Any]) -> NDArray[np.int64]:
    """The most probable class of each row, int64 [N]."""
    return np.asarray(probabilities).argmax(1).astype(np.int64)


def uncertainty(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Entropy of the probabilities [N, K] of each row, in nats, [N]; 0 is certain."""
    p = np.asarray(probabilities, np.float64)
    return -(p * np.log(p.clip(1e-12))).sum(1)
