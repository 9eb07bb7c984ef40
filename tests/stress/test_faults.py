"""Some faults under a real search; all of them: ``make stress``."""

from collections.abc import Callable

import pytest

from tests import postgres
from tests.stress.faults import CannotInjectError, Site, full_disk, inject, server_crash, site, terminated


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A search of the controls and the paper's triple alone, a seed each."""
    return site(tmp_path_factory.mktemp("faults"), 1, "--step", "1", "--tolerance", "0.3", "--seeds", "1")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [full_disk, terminated, server_crash])
def test_a_fault_ends_in_one_message_and_loses_nothing(fault: Callable[[Site], str], place: Site) -> None:
    if fault is server_crash and postgres.binaries() is None:
        pytest.skip(postgres.REASON)
    try:
        assert inject(fault, place) == ""
    except CannotInjectError as error:
        pytest.skip(str(error))
