"""Anchors fitted to a data set's boxes."""

import numpy as np

from ..data.base import Data


def fit_anchors(data: Data, count: int) -> tuple[float, ...]:
    """Return `count` widths and heights (width, height, width, ...) that suit the training objects, by ascending area.

    They are the means of that many clusters (k-means) of the objects' sides, in 0..1 of the image's.
    """
    from sklearn.cluster import KMeans

    objects = data.train.labels  # (M, 6)
    sides = (objects[:, 4:6] - objects[:, 2:4]).numpy()
    different = np.unique(sides.round(2), axis=0)
    if len(different) < count:
        means = np.resize(different, (count, 2))
    else:
        means = KMeans(count, n_init=4, random_state=0).fit(sides).cluster_centers_
    ordered = means[np.argsort(means.prod(1))]
    return tuple(round(float(side), 4) for side in ordered.ravel())
