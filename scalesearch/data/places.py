"""Where things are kept between calls, unless a run names its own folder."""

import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

CACHE_VARIABLE = "SCALESEARCH_CACHE"
HOME_CACHE = "~/.cache/scalesearch"


def cache_root() -> Path:
    """The folder named by the environment variable SCALESEARCH_CACHE, else ~/.cache/scalesearch; where this user has no
    home that can be written to, as in some containers, one of theirs among the temporary files."""
    named = os.environ.get(CACHE_VARIABLE)
    folder = os.path.expanduser(named or HOME_CACHE)  # pathlib raises where there is no home
    return Path(folder) if named or _writable(folder) else _temporary()


def free_bytes(path: Path) -> int:
    """Bytes that are free on the disk where a folder is or will be."""
    return shutil.disk_usage(nearest(path)).free


def nearest(path: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if one.exists())


def lend_home(environment: MutableMapping[str, str]) -> None:
    """Where this user's home cannot be written to, lets libraries keep things beside ours: torch and fontconfig what
    they cache, matplotlib its settings, unless the environment says where."""
    if not home_is_writable():
        environment.setdefault("XDG_CACHE_HOME", str(cache_root()))
        environment.setdefault("MPLCONFIGDIR", str(cache_root() / "matplotlib"))


def home_is_writable() -> bool:
    """Whether programs can keep things in this user's home."""
    return all(_writable(os.path.expanduser(folder)) for folder in ("~", "~/.cache"))


def _writable(folder: str) -> bool:
    """Whether a folder can be written to, or made; not where its "~" stands for no home."""
    return not folder.startswith("~") and os.access(nearest(Path(folder)), os.W_OK | os.X_OK)


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"scalesearch-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def datasets_folder() -> Path:
    """Where torchvision's sets are downloaded to."""
    return cache_root() / "datasets"


def portraits_folder() -> Path:
    """Where it is kept which images two parts of a set share."""
    return cache_root() / "portraits"


def timings_folder() -> Path:
    """Where it is kept how long steps of training take on this machine."""
    return cache_root() / "timings"


def decoded_folder() -> Path:
    """Where decoded images are kept unless a run names its own folder."""
    return cache_root() / "decoded"


def digests_file() -> Path:
    """Where the digests of files are kept."""
    return cache_root() / "digests.sqlite"


def packed_folder() -> Path:
    """Where it is kept what packed files hold, and what was copied out of them."""
    return cache_root() / "packed"
