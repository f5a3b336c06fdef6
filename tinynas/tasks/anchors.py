"""Anchors fitted to a data set's boxes."""

import numpy as np
import torch

from ..data.base import Data
from ..data.boxes import BoxSplit


def anchors_of(data: Data, count: int) -> tuple[float, ...]:
    """Widths and heights that suit the training objects: the means of `count` clusters, the smallest first."""
    from sklearn.cluster import KMeans

    assert isinstance(data.train, BoxSplit)
    objects = torch.cat(list(data.train.objects))
    sides = (objects[:, 3:5] - objects[:, 1:3]).numpy()
    different = np.unique(sides.round(2), axis=0)
    if len(different) < count:
        means = np.resize(different, (count, 2))
    else:
        means = KMeans(count, n_init=4, random_state=0).fit(sides).cluster_centers_
    ordered = means[np.argsort(means.prod(1))]
    return tuple(round(float(side), 4) for side in ordered.ravel())
