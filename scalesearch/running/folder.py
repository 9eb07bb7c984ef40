"""A run's folder: where everything of one search lies."""

from pathlib import Path

RUN_FILE = "run.json"


def newest_run(root: Path = Path("runs")) -> Path | None:
    """The folder under ``root`` whose search finished a trial last, or None where nothing was searched."""
    found = sorted(root.glob("*/coefficients.json"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None
