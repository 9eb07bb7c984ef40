"""Faces of nobody known, put together by person: average linkage, without a matrix of all pairs.

The mean squared distance between the faces of two groups of unit vectors is 2 − 2·(mean of one)·(mean of the other), so
a group is its mean and its size, whatever it was made of. Groups are found along chains of nearest neighbours, which
gives the same groups as merging the nearest two again and again (Murtagh 1983, Comput. J. 26(4)).
"""

import numpy as np

from scalesearch.data.source import IntArray
from scalesearch.faces.model import FloatArray

ROUNDING = 1e-6  # of a squared distance in 32 bits


def groups(vectors: FloatArray, limit: float) -> IntArray:
    """A group for each face: int64 (n,), 0 for the largest; of two as large the one that is seen first comes first.

    Groups are merged while the mean squared distance between their faces is below ``limit``. Memory grows with n, time
    with n² at worst.

    Args:
        vectors: float32 (n, D), of length 1.
    """
    merged = _linked(vectors, limit)
    roots, first, sizes = np.unique(merged, return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    numbers = np.empty(len(roots), np.int64)
    numbers[order] = np.arange(len(roots))
    found: IntArray = numbers[np.searchsorted(roots, merged)]
    return found


def _linked(vectors: FloatArray, limit: float) -> IntArray:
    """Of each face, a face of its group that all in the group have in common: int64 (n,)."""
    means, sizes = vectors.astype(np.float32, copy=True), np.ones(len(vectors), np.int64)
    parents = np.arange(len(vectors))
    places = np.arange(len(vectors))  # of the groups that may still be merged
    chain: list[int] = []
    while len(places):
        if not chain:
            chain.append(int(places[0]))
        here = chain[-1]
        distances = 2 - 2 * (means[places] @ means[here])
        distances[places == here] = np.inf
        best = int(distances.argmin()) if len(places) > 1 else 0
        near, nearest = float(distances[best]), int(places[best])
        if len(chain) > 1:
            before = chain[-2]
            back = float(distances[np.searchsorted(places, before)])
            if back <= near + ROUNDING:  # the two are nearest to each other
                near, nearest = back, before
        if near >= limit:  # and stays so far: what others merge into comes no nearer
            places = places[places != here]
            chain.pop()
        elif len(chain) > 1 and nearest == chain[-2]:
            del chain[-2:]
            total = sizes[here] + sizes[nearest]
            means[nearest] = (means[here] * sizes[here] + means[nearest] * sizes[nearest]) / total
            sizes[nearest], parents[here] = total, nearest
            places = places[places != here]
        else:
            chain.append(nearest)
    while (parents[parents] != parents).any():
        parents = parents[parents]
    return parents
