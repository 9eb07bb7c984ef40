import shutil
from pathlib import Path

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.study.confusion import Confusion
from scalesearch.study.record import read_record
from scalesearch.study.statistics import accuracy_interval

GOLDEN = Path(__file__).parents[1] / "golden" / "run-0.1.0"
LABELS = np.array([0, 0, 0, 0, 1, 1, 3])
TWICE = Confusion(
    ("cat", "dog", "eel", "fox"), LABELS, np.array([[0, 0, 0, 0, 1, 0, 3], [0, 0, 1, 1, 0, 0, 3]]),
    np.zeros((2, 7), np.float32),
)  # fmt: skip


def test_counts_are_of_true_and_predicted_classes_over_all_trainings() -> None:
    assert TWICE.counts.tolist() == [[6, 2, 0, 0], [3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]
    assert TWICE.counts.sum() == TWICE.predictions.size


def test_classes_come_the_worst_first_with_what_they_are_taken_for() -> None:
    told = TWICE.by_class()
    assert [(one.name, one.images, one.accuracy.value) for one in told] == [
        ("dog", 2, pytest.approx(0.25)), ("cat", 4, pytest.approx(0.75)), ("fox", 1, 1.0)
    ]  # fmt: skip
    assert [one.mistaken for one in told] == [("cat", 0.75), ("dog", 0.25), None]
    assert told[1].accuracy == accuracy_interval(TWICE.predictions[:, :4] == 0)


def test_a_run_tells_it_of_the_candidate_in_front(tmp_path: Path) -> None:
    record = read_record(GOLDEN)
    assert record.leader is not None
    assert record.confusion is not None
    assert int(np.trace(record.confusion.counts)) == record.leader.correct
    assert record.confusion.classes[:2] == ("class 0", "class 1")  # the first version kept no names
    run = Path(shutil.copytree(GOLDEN, tmp_path / "run"))
    text = (run / "run.json").read_text()
    names = [f'"{n} <b>"' for n in range(record.provenance.classes)]
    (run / "run.json").write_text(text.replace('"classes"', f'"class_names": [{", ".join(names)}], "classes"', 1))
    named = read_record(run)
    assert named.confusion is not None
    assert named.confusion.classes[0] == "0 <b>"
    (run / "run.json").write_text(text.replace('"classes"', '"class_names": ["one"], "classes"', 1))
    with pytest.raises(UserError, match="1 names of"):
        read_record(run)
