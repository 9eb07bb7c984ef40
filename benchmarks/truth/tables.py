"""A truth table read back: every network's right and wrong answers after each rung, for every seed."""

import json
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.cost import score
from scalesearch.study.posterior import Network
from scalesearch.study.race import Field
from scalesearch.study.row import BASELINE

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """One variant of one data set; network 0 is the baseline where the variant trained it.

    Args:
        variant: how they were trained, as benchmarks/truth/train.py names it.
        names: of the networks; ``validation`` is (network, seed, rung, image), ``test`` (network, seed, image).
        soft: scores of validation images, 0 to 255, (network, seed, rung, image).
        rungs: epochs after which they were judged.
        factors: what turns each network's accuracy into its score, (network,).
        work: of one epoch of each network, in epochs of an average candidate, (network,).
        shares: of log FLOPs that go to depth, width and resolution.
        classes: of the images.
    """

    variant: str
    names: tuple[str, ...]
    validation: Bools
    test: Bools
    soft: NDArray[np.uint8]
    rungs: tuple[int, ...]
    factors: Floats
    work: Floats
    controls: tuple[str, ...]
    shares: tuple[tuple[float, float, float], ...]
    classes: int

    @property
    def full(self) -> int:
        """Epochs of a training to the end."""
        return self.rungs[-1]

    @property
    def candidates(self) -> list[int]:
        """Places of the networks that can win."""
        return [place for place, name in enumerate(self.names) if name != "baseline"]

    @property
    def scores(self) -> Floats:
        """Mean score of each network on the test images over all seeds: the truth of this table."""
        return np.asarray(self.test.mean(axis=(1, 2)) * self.factors)

    def field(self) -> Field:
        """The networks as the race takes them, numbered by place."""
        takers = (
            Network(BASELINE if name == "baseline" else place, float(self.factors[place]), self.shares[place])
            for place, name in enumerate(self.names)
        )
        always = frozenset(place for place, control in enumerate(self.controls) if control)
        return Field(tuple(takers), always, 1 / self.classes)


def read_table(path: Path, variant: str | None = None) -> Table:
    """Reads NAME.npz and NAME.json beside it; None is the variant that counts as the truth."""
    facts = json.loads(path.with_suffix(".json").read_text())
    variant = variant or facts["truth"]
    own, networks = facts["variants"][variant], facts["networks"]
    with np.load(path) as kept:
        validation = kept[f"{variant}_validation"] == kept["labels"]
        test, soft = kept[f"{variant}_test"] == kept["test_labels"], kept[f"{variant}_soft"]
    names = tuple(own["networks"])
    rows = [networks[name] for name in names]
    macs = dict(zip(names, own["macs"], strict=True))
    average = np.mean([value for name, value in macs.items() if name != "baseline"])
    return Table(
        variant=variant, names=names, validation=validation, test=test, soft=soft, rungs=tuple(own["rungs"]),
        factors=np.array([score(1.0, macs[name], macs["baseline"]) for name in names]),
        work=np.array([macs[name] / average for name in names]),
        controls=tuple(row["control"] for row in rows),
        shares=tuple(_shares(row) for row in rows), classes=len(facts["classes"]),
    )  # fmt: skip


def _shares(row: dict[str, Any]) -> tuple[float, float, float]:
    return log2(row["depth"]), 2 * log2(row["width"]), 2 * log2(row["resolution"])
