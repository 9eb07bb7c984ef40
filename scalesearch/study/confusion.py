"""What a network takes for what, counted from the predictions of its trainings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalesearch.study.calibration import Calibration, calibration
from scalesearch.study.outcomes import predictions_file, probabilities, unpacked
from scalesearch.study.posterior import Floats32
from scalesearch.study.row import AnyRow, TrialResult
from scalesearch.study.statistics import Bools, Interval, Ints, accuracy_interval


@dataclass(frozen=True)
class ClassAccuracy:
    """How a class fares.

    Args:
        images: of it, each judged by every training.
        accuracy: share of them that are right, with its 95 % interval.
        mistaken: the class that it is most often taken for, and what share of its images; None where none is wrong.
    """

    name: str
    images: int
    accuracy: Interval
    mistaken: tuple[str, float] | None


@dataclass(frozen=True, eq=False)
class Confusion:
    """One network's trainings on the same images.

    Args:
        classes: their names.
        labels: (images,); ``predictions``: (seeds, images); ``soft``: 1 − Brier score / 2 of each, 0 for a wrong
            answer given with certainty.
        probabilities: of each prediction, (seeds, images); None where a training kept none.
    """

    classes: tuple[str, ...]
    labels: Ints
    predictions: Ints
    soft: Floats32
    probabilities: Floats32 | None = None

    @property
    def calibration(self) -> Calibration | None:
        """Whether its probabilities can be believed, all trainings together; None where they were not kept."""
        if self.probabilities is None:
            return None
        return calibration(self.predictions == self.labels, self.probabilities)

    @property
    def seeds(self) -> int:
        """Trainings."""
        return len(self.predictions)

    @property
    def counts(self) -> Ints:
        """Images by true class and predicted one, (classes, classes), summed over trainings."""
        counts = np.zeros((len(self.classes),) * 2, np.int64)
        np.add.at(counts, (np.broadcast_to(self.labels, self.predictions.shape), self.predictions), 1)
        return counts

    def by_class(self) -> tuple[ClassAccuracy, ...]:
        """Of each class with images, the one that fares worst first."""
        counts, right = self.counts, self.predictions == self.labels
        told = [self._class(number, counts[number], right[:, self.labels == number])
                for number in np.unique(self.labels).tolist()]  # fmt: skip
        return tuple(sorted(told, key=lambda one: one.accuracy.value))

    def _class(self, number: int, counts: Ints, right: Bools) -> ClassAccuracy:
        others = np.where(np.arange(len(counts)) == number, 0, counts)
        most = int(others.argmax())
        mistaken = (self.classes[most], float(others[most] / counts.sum())) if others[most] else None
        return ClassAccuracy(self.classes[number], right.shape[1], accuracy_interval(right), mistaken)


def confusion(folder: Path, rows: Sequence[AnyRow], classes: Sequence[str]) -> Confusion | None:
    """Of a network's trainings ``rows``, which a run's folder holds; None where it holds none of their predictions.

    Raises UserError for predictions that cannot be read.
    """
    paths = [predictions_file(folder, row) for row in rows]
    there = [(TrialResult(row, path.read_bytes()), str(path)) for row, path in zip(rows, paths, strict=True)
             if path.is_file()]  # fmt: skip
    if not there:
        return None
    labels, predictions, soft = (np.stack(values) for values in zip(*(unpacked(*one) for one in there), strict=True))
    stated = [one for one in (probabilities(*result) for result in there) if one is not None]
    whole = np.stack(stated) if len(stated) == len(there) else None
    return Confusion(tuple(classes), labels[0], predictions, soft, whole)
