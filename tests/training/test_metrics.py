import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.training.metrics import class_accuracy, confusion, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "expected"),
    [  # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_published_values(correct: int, total: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(correct, total) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_wilson_holds_the_share_and_mirrors(counts: tuple[int, int], level: float) -> None:
    correct, total = counts
    low, high = wilson_interval(correct, total, level)
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1
    assert wilson_interval(total - correct, total, level) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(("correct", "total", "level"), [(1, 0, 0.9), (3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1.0)])
def test_wilson_refuses(correct: int, total: int, level: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(correct, total, level)


def test_confusion_and_class_accuracy_by_hand() -> None:
    labels, predictions = np.array([0, 0, 0, 2, 2]), np.array([0, 1, 0, 2, 0])
    counts = confusion(labels, predictions, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert class_accuracy(counts) == pytest.approx([2 / 3, np.nan, 1 / 2, np.nan], nan_ok=True)


def test_confusion_refuses_foreign_classes_and_lengths() -> None:
    with pytest.raises(ValueError, match="0 to 1 expected"):
        confusion(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="0 to 1 expected"):
        confusion(np.array([0, 1]), np.array([0, -1]), 2)
    with pytest.raises(ValueError, match="one length"):
        confusion(np.array([0, 1]), np.array([0]), 2)


def test_values_and_statistics_need_no_torch() -> None:
    modules = "scalesearch.training.metrics, scalesearch.study.config, scalesearch.training.history"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
