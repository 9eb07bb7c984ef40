"""A small campaign of kills on each kind of storage; the full one is ``make stress``."""

from pathlib import Path

import pytest

from tests import postgres
from tests.stress.kills import campaign


@pytest.mark.parametrize(
    ("kind", "kills", "step"),
    [
        ("sqlite", 1, 1.0), pytest.param("sqlite", 2, 0.5, marks=pytest.mark.slow),
        pytest.param("postgresql", 2, 0.5, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_search_that_is_killed_again_and_again_comes_to_the_same(
    kind: str, kills: int, step: float, tmp_path: Path
) -> None:
    """Once by default, more often where tests marked slow are run."""
    if kind == "postgresql":
        if postgres.binaries() is None:
            pytest.skip(postgres.REASON)
        pytest.importorskip("psycopg", reason="no driver for PostgreSQL (the extra [postgresql])")
    count = campaign(tmp_path, kind, kills=kills, seed=1, every_seconds=2.5, step=step, jobs=2)
    assert count.faults == []
    assert count.hits.total() >= 1
