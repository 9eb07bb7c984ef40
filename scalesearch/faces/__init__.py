"""Recognising the members of a group on photos: embeddings, galleries, open-set thresholds."""

from typing import Literal

from scalesearch.errors import UserError

LossName = Literal["triplet", "arcface", "cosface", "proxy-nca", "proxy-anchor"]
Mining = Literal["all", "semi-hard", "batch-hard"]
FACE = "face"  # the body that comes with the extra


def missing_extra(package: str) -> UserError:
    """The error for a package of the extra ``faces`` that is not there."""
    return UserError(package, "it is not installed.", do="Install it: pip install 'scalesearch[faces]'")
