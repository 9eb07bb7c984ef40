"""Runs the command line in this process, as the entry point does."""

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scalesearch.cli.main import run


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``scalesearch ARGS`` in an empty folder; returns exit code and output. What a search will take is estimated
    from one step instead of eight: no test here is about how close that is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scalesearch.running.estimate.STEPS", 1)

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["scalesearch", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            run()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is heard here and by processes started from here; a shell's background tasks are told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
