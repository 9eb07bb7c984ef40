"""A run's folder: where everything of one search lies, and the lock that keeps a second process out."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from scalesearch.errors import UserError


def prepare(folder: Path) -> None:
    """Makes the folder and checks that it can be written to. Raises UserError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            "--run", f"{folder} ({error.strerror})", "a folder that can be written to", "Name another with --run."
        ) from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; the system lets go of it when the process ends, however it ends.

    Raises UserError where another process holds it.
    """
    from filelock import FileLock, Timeout  # not needed by commands that only read

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            "--run", f"{folder} in use by another scalesearch process", "a folder of its own for each search",
            "Wait for that one, or name another folder.",
        ) from None  # fmt: skip
    try:
        yield
    finally:
        lock.release()
