"""A small campaign of kills on each kind of storage; the full one is ``make stress``."""

from pathlib import Path

import pytest

from tests import postgres
from tests.stress.kills import campaign


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_search_that_is_killed_again_and_again_comes_to_the_same(kind: str, tmp_path: Path) -> None:
    if kind == "postgresql":
        if postgres.binaries() is None:
            pytest.skip(postgres.REASON)
        pytest.importorskip("psycopg", reason="no driver for PostgreSQL (the extra [postgresql])")
    count = campaign(tmp_path, kind, kills=2, seed=1, every_seconds=2.5, step=0.5, jobs=2)
    assert count.faults == []
    assert count.hits.total() >= 1
