"""Terminals and pipes that are not UTF-8: no traceback, nothing that they cannot hold, and JSON that says the same."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scalesearch.cli.main import run
from scalesearch.cli.spelling import HANDLER, holds_everything, spelled, spelled_table
from scalesearch.table import table
from tests.conftest import MakeFolder

ENCODINGS = ("ascii", "latin-1", "cp1252")
PRINTING = (
    ("--help",), ("grid", "--help"), ("paper",), ("baseline", "--space", "mbconv_small"), ("scale", "--phi", "2"),
    ("grid", "--space", "mbconv_small", "--target-flops", "2M", "--images", "200", "--jobs", "1", "--dry-run"),
    ("scale", "--space", "große-φ"),
)  # fmt: skip


def environment(encoding: str) -> dict[str, str]:
    return {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "100"}


Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Called:
    """Runs ``scalesearch ARGUMENTS`` in this process, whose streams are of an encoding, as Python makes them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("scalesearch.running.estimate.STEPS", 1)

    def call(encoding: str, *arguments: str) -> tuple[int, str, str]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2)]
        code = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["scalesearch", *arguments])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            try:
                run()
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 1
        for stream in streams:
            stream.flush()
        out, errors = (stream.buffer.getvalue().decode(encoding) for stream in streams)  # type: ignore[attr-defined]
        return code, out, errors

    return call


def started(folder: Path, encoding: str, *arguments: str) -> tuple[int, str, str]:
    """The same of a process of its own; a byte that is none of the encoding is an error."""
    ended = subprocess.run(
        [sys.executable, "-m", "scalesearch", *arguments], cwd=folder, capture_output=True, check=False,
        env=environment(encoding),
    )  # fmt: skip
    return ended.returncode, ended.stdout.decode(encoding), ended.stderr.decode(encoding)


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_commands_print_in_ascii_what_they_print_in_utf_8(called: Called, arguments: tuple[str, ...]) -> None:
    code, out, errors = called("ascii", *arguments)
    assert code == (2 if "große-φ" in arguments else 0)
    assert "Traceback" not in errors
    assert not re.search(r"\w\?|\?\w| \? ", out)  # a letter that had no spelling


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_greek_letters_are_spelled_and_what_the_encoding_has_is_kept(tmp_path: Path, encoding: str) -> None:
    code, out, _ = started(tmp_path, encoding, "grid", "--help")
    assert (code, "Search alpha, beta, gamma by racing" in out) == (0, True)
    assert ("accuracy · (" in out) == (encoding != "ascii")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_says_the_same_in_every_encoding(called: Called, encoding: str) -> None:
    out, same = (json.loads(called(one, "paper", "--json")[1]) for one in (encoding, "utf-8"))
    assert out == same
    assert not json.dumps(same, ensure_ascii=False).isascii()


def test_files_are_utf_8_whatever_is_printed(called: Called, tmp_path: Path, image_folder: MakeFolder) -> None:
    images = image_folder(parts=("train", "test"))
    (images / "train" / "class0").rename(images / "train" / "größe φ")
    (images / "test" / "class0").rename(images / "test" / "größe φ")
    common = ("--model", "mbconv_small", "--data", str(images), "--resolution", "16", "--epochs", "1")
    code, out, errors = called("latin-1", "finetune", *common, "--batch-size", "16", "--out", "m")
    assert (code, "Traceback" in errors) == (0, False), errors
    assert "m/model.safetensors" in out
    assert "größe φ" in (tmp_path / "m" / "metrics.json").read_text(encoding="utf-8")
    code, out, _ = called("latin-1", "evaluate", "m/model.safetensors", "--data", str(images))
    assert (code, "größe phi" in out) == (0, True)
    code, out, _ = called("ascii", "predict", "m/model.safetensors", str(images / "test"), "--out", "p.csv")
    assert code == 0
    assert "größe φ" in (tmp_path / "p.csv").read_text(encoding="utf-8")


def test_a_progress_bar_in_a_terminal_of_ascii(tmp_path: Path, image_folder: MakeFolder) -> None:
    ours, theirs = pty.openpty()
    arguments = ("finetune", "--model", "mbconv_small", "--data", str(image_folder()), "--resolution", "16", "--epochs",
                 "1", "--batch-size", "16", "--out", "m")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "scalesearch", *arguments], cwd=tmp_path, stdout=theirs, stderr=subprocess.STDOUT,
        env={**environment("ascii"), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 65536):
            found += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0, found.decode()
    assert found.isascii()
    assert b"Accuracy on" in found
    assert b"---" in found  # the bar


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("αβ²γ² ≈ 2", "ascii", "alpha beta^2 gamma^2 ~ 2"),
        ("αβ²γ² ≈ 2", "latin-1", "alpha beta² gamma² ~ 2"),
        ("depth ×1.24, 1–2 %, −0.5 ± 0.1 …", "ascii", "depth x1.24, 1-2 %, -0.5 +/- 0.1 ..."),
        ("2φ, φ = 2, (φ)", "cp1252", "2 phi, phi = 2, (phi)"),
        ("große Höhe, cafe\u0301", "ascii", "grosse Hohe, cafe"),
        ("⌈40 · 1.1⌉", "ascii", "ceil(40 * 1.1)"),
        ("日本 \udcff", "ascii", "?? \\udcff"),
        ("φ", "utf-8", "φ"),
    ],
)
def test_spelling(text: str, encoding: str, shown: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=HANDLER)
    assert spelled(text, stream) == shown
    assert holds_everything(stream) == (encoding == "utf-8")


def test_columns_of_numbers_stand_right_in_ascii_too(monkeypatch: pytest.MonkeyPatch) -> None:
    original = table("Große", ("φ", "lead", "range"), [("1", "−0.5", "1.0–2.5"), ("2", "–", "×")])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=HANDLER))
    shown = spelled_table(original)
    assert (shown.caption, shown.columns) == ("Grosse", ("phi", "lead", "range"))
    assert shown.texts == [["1", "-0.5", "1.0-2.5"], ["2", "-", "x"]]
    assert shown.numeric == original.numeric == (True, True, False)
