"""Where things are kept between calls, unless a run names its own folder."""

import os
from pathlib import Path

CACHE_VARIABLE = "SCALESEARCH_CACHE"


def cache_root() -> Path:
    """The folder named by the environment variable SCALESEARCH_CACHE, else ~/.cache/scalesearch."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/scalesearch").expanduser()


def datasets_folder() -> Path:
    """Where torchvision's sets are downloaded to."""
    return cache_root() / "datasets"


def decoded_folder() -> Path:
    """Where decoded images are kept unless a run names its own folder."""
    return cache_root() / "decoded"


def digests_file() -> Path:
    """Where the digests of files are kept."""
    return cache_root() / "digests.sqlite"
