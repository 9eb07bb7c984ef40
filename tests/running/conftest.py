"""Storages of both kinds for the tests of this room."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalesearch.running.storage import Storage, storage_url
from tests import postgres

OpenStorage = Callable[[], Storage]


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[postgres.Server]:
    if postgres.binaries() is None:
        pytest.skip(postgres.REASON)
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL (the extra [postgresql])")
    with postgres.server() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStorage]:
    """Opens the same database anew each time."""
    opened: list[Storage] = []
    address = None if request.param == "sqlite" else request.getfixturevalue("postgres_server").url

    def open_one() -> Storage:
        opened.append(Storage(storage_url(tmp_path, address)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
