"""Images of one part that are in another, too: found by content, whatever their names."""

import hashlib

import numpy as np

from scalesearch.data.arrays import ImageArrays


def overlap(train: ImageArrays, other: ImageArrays) -> list[tuple[int, int]]:
    """(position in ``train``, position in ``other``) of images whose decoded pixels are the same, by ``other``'s order.

    Both hold images of one size, decoded and cut alike, so a renamed or losslessly rewritten copy is found, a
    recompressed one is not. An image of one colour counts as no content and is left out.
    """
    places = {digest: place for place, digest in enumerate(_digests(train)) if digest}
    found = ((places.get(digest), place) for place, digest in enumerate(_digests(other)) if digest)
    return [(known, place) for known, place in found if known is not None]


def _digests(arrays: ImageArrays) -> list[bytes]:
    return [
        b""
        if (image == image[0, 0]).all()
        else hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        for image in arrays.images
    ]
