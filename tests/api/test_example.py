"""The example in the documentation, run as it stands, on fewer images and for one epoch."""

import runpy
from functools import partial
from pathlib import Path

import pytest

from scalesearch.data.glyphs import glyph_source

EXAMPLE = Path(__file__).parents[2] / "examples" / "notebook_style.py"


def test_the_example_is_short() -> None:
    code = [
        line for line in EXAMPLE.read_text().split('"""')[2].splitlines() if line.strip() and line.lstrip()[0] != "#"
    ]
    assert len(code) < 40


@pytest.mark.usefixtures("one_figure")
def test_the_example_searches_scales_trains_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXAMPLE_EPOCHS", "1")
    monkeypatch.setattr("scalesearch.data.dataset.glyph_source", partial(glyph_source, train=680, test=136))
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert Path("accuracy_flops.png").read_bytes()[:4] == b"\x89PNG"
    assert Path("runs/example/report/report.html").is_file()
