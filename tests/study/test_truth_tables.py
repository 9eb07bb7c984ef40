"""The race and its answer on real, fully trained candidates (benchmarks/truth): nothing here trains."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scalesearch.study.race import Race, Results, advance, exhaustive, recommended, usual
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import (
    Floats,
    accuracy_interval,
    not_beaten,
    sample,
    seed_spread,
    weigh,
    wilson_interval,
)

FOLDER = Path(__file__).parents[2] / "benchmarks" / "truth"
NAMES = ("cifar10", "tiny_imagenet20")


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", FOLDER / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


tables = module()


def race(table: Any, rungs: Race, repeat: int) -> tuple[int, float]:
    """A race on a table: seeds in an order of the repeat's, images resampled. Whom it recommends, and its compute in
    full trainings of an average candidate."""
    rng, takers, results = np.random.default_rng(repeat), table.field(), Results()
    places, seeds, _, images = table.validation.shape
    order = [rng.permutation(seeds) for _ in range(places)]
    drawn, baseline = rng.integers(0, images, images), table.names.index("baseline")
    reached: dict[tuple[int, int], int] = {}
    compute = 0.0
    while wanted := advance(rungs, takers, results).wanted:
        for number, seed, epochs in wanted:
            place = baseline if number == BASELINE else number
            right = table.validation[place, order[place][seed % seeds], table.rungs.index(epochs)]
            results.add((number, seed, epochs), right[drawn])
            compute += float(table.work[place]) * (epochs - reached.get((number, seed), 0))
            reached[number, seed] = epochs
    believed = results.posterior(takers, table.full)
    assert believed is not None
    return recommended(believed, table.full, results), compute / table.full


@pytest.mark.parametrize("name", NAMES)
def test_tables_hold_what_they_say(name: str) -> None:
    table = tables.read_table(FOLDER / f"{name}.npz")
    places, seeds, rungs, images = table.validation.shape
    assert (places, rungs) == (len(table.names), len(table.rungs))
    assert table.test.shape[:2] == (places, seeds)
    assert len(table.candidates) == places - 1
    assert min(seeds, len(table.rungs)) > 1
    assert images > 500
    assert {"depth", "width", "resolution"} <= set(table.controls)
    assert set(table.field().candidates) == set(table.candidates)
    accuracy = table.validation.mean(axis=(1, 3))
    assert (accuracy[:, -1] > accuracy[:, 0] + 0.1).all()  # all epochs are more than one


@pytest.mark.parametrize("name", ["photos_cifar10", "photos_tiny_imagenet20"])
def test_proxies_are_of_the_networks_they_stand_for(name: str) -> None:
    """Each about twice its own baseline, as a search would train it."""
    path = FOLDER / f"{name}.npz"
    truth, proxies = tables.read_table(path), tables.read_table(path, "family")
    assert truth.variant == "photos"
    assert len(truth.candidates) == len(proxies.candidates) == 11
    assert set(proxies.names) <= set(truth.names)
    assert {"depth", "width", "resolution", "paper"} <= set(truth.controls)
    for table in (truth, proxies):
        assert table.factors[table.names.index("baseline")] == 1
        assert table.factors[table.candidates] == pytest.approx(2**-0.07, rel=0.004)
        assert (table.scores > 1 / table.classes).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_race_loses_little_against_everything(name: str) -> None:
    """Regret on test images that no search sees, two dozen repeats: within exhaustive search's own spread of it."""
    table = tables.read_table(FOLDER / f"{name}.npz")
    best, count = max(table.scores[p] for p in table.candidates), len(table.candidates)
    default = usual(table.full, 75, count, len(table.field().always), further=count // 2)
    regrets: dict[str, list[float]] = {"race": [], "everything": []}
    for repeat in range(24):
        for kind, rungs in (("race", default), ("everything", exhaustive(replace(default, further=0), 3))):
            choice, compute = race(table, rungs, repeat)
            regrets[kind].append(best - table.scores[choice])
            assert (compute < 2 * count) == (kind == "race")
    everything = np.array(regrets["everything"])
    assert np.mean(regrets["race"]) <= everything.mean() + everything.std(ddof=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_set_holds_the_best_of_the_table(name: str) -> None:
    """The table's validation images are the population here, so its best is known."""
    table = tables.read_table(FOLDER / f"{name}.npz")
    full = table.validation[:, :, -1]
    truth = {p: full[p].mean() * table.factors[p] for p in table.candidates}
    best = max(truth, key=lambda p: truth[p])
    hits, sizes = 0, []
    for repeat in range(40):
        rng = np.random.default_rng(repeat)
        drawn = rng.integers(0, full.shape[2], full.shape[2])
        samples = [sample(full[p][rng.integers(0, len(full[p]), 3)][:, drawn], draws=400) for p in table.candidates]
        inside = not_beaten(weigh(samples, [float(table.factors[p]) for p in table.candidates], seed_spread(samples)))
        hits += bool(inside[table.candidates.index(best)])
        sizes.append(int(inside.sum()))
    assert hits >= 36
    assert np.mean(sizes) < 0.8 * len(table.candidates)


def covered(name: str, seeds: int, repeats: int) -> Floats:
    """How often 95 % intervals hold the truth: of ``accuracy_interval``, and of Wilson's over all seeds' hits.

    All of a table's images, of validation and test, are the population: an interval for some seeds of a fully trained
    network should hold their mean accuracy there.
    """
    table = tables.read_table(FOLDER / f"{name}.npz")
    everything = np.concatenate([table.validation[:, :, -1], table.test], axis=2)
    rng, held, images = np.random.default_rng(0), np.zeros(2), table.validation.shape[3]
    for _ in range(repeats):
        drawn = rng.integers(0, everything.shape[2], images)
        for network in everything:
            chosen = network[rng.permutation(len(network))[:seeds]]
            correct, truth = chosen[:, drawn], chosen.mean()
            pooled = wilson_interval(float(correct.sum()), correct.size)
            held += [one.low <= truth <= one.high for one in (accuracy_interval(correct), pooled)]
    return held / (repeats * len(everything))


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_accuracy_intervals_hold_the_truth_in_95_of_100_draws(name: str, seeds: int) -> None:
    ours, pooled = covered(name, seeds, 400)
    assert ours == pytest.approx(0.95, abs=0.02)
    if seeds == 1:
        assert pooled == ours
    else:  # seeds share their images, so their hits are no independent images
        assert pooled < {2: 0.9, 3: 0.85}[seeds]
