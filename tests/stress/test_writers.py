"""Commands on a disk that is full: one message, the old files as they were, nothing half-written and nothing left."""

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stress.commands import WRITERS, call, contents, forget, inside, leftovers, prepare, put_old

LIMITS = (0, 3_000, 20_000)  # bytes that a file may have
LONG = ("report", "comparison", "export onnx", "export torch-export")  # take seconds


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("writers") / "site")


@contextlib.contextmanager
def limited(most: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("one_figure")
@pytest.mark.parametrize("name", WRITERS)
def test_files_that_may_not_grow_end_in_one_message_and_leave_the_old_ones(name: str, site: Path) -> None:
    """A report's files are all written in one go, so that one figure stands for all; ``make stress`` has whole ones."""
    writer = WRITERS[name]
    with inside(site):
        forget(site, writer)
        done = call(*writer.arguments)
        assert done.code == 0, done.err
        whole = contents(site, writer)
        assert whole
        refused = 0
        for most in LIMITS[-1:] if name in LONG else LIMITS:
            old = put_old(site, name, whole)
            with limited(most):
                ended = call(*writer.arguments)
            if ended.code == 0:
                assert contents(site, writer) == whole
            else:
                assert ended.complaint() == "", most
                assert contents(site, writer) == old
                refused += 1
            assert leftovers(site) == []
        assert refused
