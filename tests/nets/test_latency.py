from dataclasses import replace
from itertools import chain, repeat

import pytest
import torch

from scalesearch.design.space import load_space
from scalesearch.nets import measure as module
from scalesearch.nets.measure import WARM_UP, latency

SPEC = replace(load_space("mbconv_small").baseline, resolution=16, classes=3)


def test_the_median_of_warm_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that gives each pass its time: slow ones that warm up, then a few that something else slowed."""
    passes = [1.0] * (WARM_UP - 1) + [0.5] + [0.02, 0.01, 0.01, 0.09, 0.01]
    ticks = chain.from_iterable((0.0, taken) for taken in chain(passes, repeat(0.01)))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    found = latency(SPEC, 2, torch.device("cpu"), repeats=5)
    assert (found.seconds, found.batch_size, found.repeats) == (0.01, 2, 5)
    assert found.spread == pytest.approx(1.0)
    assert f"2 images, float32, channels last, {torch.get_num_threads()} threads; the machine was busy" in str(found)


def test_long_passes_are_repeated_less(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = chain.from_iterable((0.0, taken) for taken in repeat(2.0))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    found = latency(SPEC, 1, torch.device("cpu"))
    assert (found.seconds, found.repeats, found.spread) == (2.0, module.FEWEST, 0.0)
    assert "one image" in str(found)
    assert "busy" not in str(found)
