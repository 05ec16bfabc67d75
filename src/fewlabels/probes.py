"""Probes: how much of the labels can be read from frozen embeddings."""

from fewlabels.embeddings import Embeddings


def knn_accuracy(train: Embeddings, test: Embeddings, *, neighbours: int = 20) -> float:
    """Accuracy of the vote of the nearest training embeddings by cosine (Wu et al. 2018, §3.4; unweighted).

    Args:
        train: Labelled embeddings; those with label -1 are left out.
        test: What is to be told, likewise.
        neighbours: k, at most the number of training embeddings.

    Returns:
        A share of 1; NaN where there is nothing labelled on either side.
    """
    from sklearn.neighbors import KNeighborsClassifier

    known, asked = train.labels >= 0, test.labels >= 0
    if not known.any() or not asked.any():
        return float("nan")
    probe = KNeighborsClassifier(min(neighbours, int(known.sum())), metric="cosine")
    probe.fit(train.vectors[known], train.labels[known])
    return float(probe.score(test.vectors[asked], test.labels[asked]))
