"""What is typed after --data finds its source or a helpful message."""

from pathlib import Path

import pytest

from scalesearch.data import dataset as opening
from scalesearch.data.dataset import open_source
from scalesearch.errors import UserError
from tests.data.pictures import tree


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr(opening, "named_source", lambda name, folder: asked.append((name, folder)))
    monkeypatch.setenv("SCALESEARCH_CACHE", "elsewhere")
    tree(tmp_path / "cifar10", {"a": 1, "b": 1})
    tree(tmp_path / "mine", {"a": 1, "b": 2})
    assert open_source("glyphs").name == "glyphs"
    open_source("cifar10")
    assert asked == [("cifar10", Path("elsewhere/datasets"))]
    assert len(open_source("./cifar10")) == 2
    assert len(open_source("mine")) == 3
    assert len(open_source(str(tmp_path / "mine"))) == 3


@pytest.mark.parametrize(
    ("typed", "suggested"), [("CIFAR-10", "cifar10"), ("glyph", "glyphs"), ("flowers_102", "flowers102")]
)
def test_a_mistyped_name_gets_a_suggestion(typed: str, suggested: str) -> None:
    with pytest.raises(UserError, match=f"Did you mean .*{suggested}"):
        open_source(typed)


def test_an_unknown_name_and_a_missing_path() -> None:
    with pytest.raises(UserError, match=r"write \./qqqqqqq"):
        open_source("qqqqqqq")
    with pytest.raises(UserError):
        open_source("x" * 3000)  # a name that no file can have
    with pytest.raises(UserError, match="no such folder"):
        open_source("./glyphs")
