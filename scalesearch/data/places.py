"""Where things are kept between calls, unless a run names its own folder."""

import os
import tempfile
from pathlib import Path

CACHE_VARIABLE = "SCALESEARCH_CACHE"
HOME_CACHE = "~/.cache/scalesearch"


def cache_root() -> Path:
    """The folder named by the environment variable SCALESEARCH_CACHE, else ~/.cache/scalesearch; where this user has no
    home, as in some containers, one of theirs among the temporary files."""
    named = os.path.expanduser(os.environ.get(CACHE_VARIABLE) or HOME_CACHE)  # pathlib raises where there is no home
    if named == HOME_CACHE:
        return Path(tempfile.gettempdir()) / f"scalesearch-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    return Path(named)


def datasets_folder() -> Path:
    """Where torchvision's sets are downloaded to."""
    return cache_root() / "datasets"


def decoded_folder() -> Path:
    """Where decoded images are kept unless a run names its own folder."""
    return cache_root() / "decoded"


def digests_file() -> Path:
    """Where the digests of files are kept."""
    return cache_root() / "digests.sqlite"
