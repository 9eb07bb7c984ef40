"""Where the real images lie."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder of real image sets, from SCALESEARCH_DATA or beside the project."""
    default = Path(__file__).parents[2] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SCALESEARCH_DATA") or default).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set SCALESEARCH_DATA")
    return folder
