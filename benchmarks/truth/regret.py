"""Regret against compute on the truth tables: our race beside exhaustive search, a grid, random, TPE + Hyperband.

    python benchmarks/truth/regret.py [benchmarks/truth/cifar10.npz ...] [--repeats 200]

A repeat draws seeds (which training is a network's first, second, …) and validation images (bootstrap) from the table;
every strategy sees the same draw. A choice is judged on the test images, which no strategy sees, and where a table has
more than three seeds by the two that the repeat's strategies do not see (a network's fourth training is then its first
once more). Regret is what that lies below the best candidate's mean over all seeds. Compute is in full trainings of an
average candidate (one seed); the baseline's trainings are counted where a strategy asks for them.

The second table takes each way of training cheaply that the tables hold (``--variant`` of train.py), one seed:
Kendall's tau with the judging seeds' order, how often the best is among its first three, and regret of its first. Here
the test images are drawn, too, so intervals hold both sides' noise; but a table of one seed does not show what another
would give, and its truth's own earlier epochs are of the very trainings that judge. The third table says how often the
race's 90 % set holds the best, how large it is, what the choice loses, what was said of that, and how often that lies
within the bound; the truth is the mean over all seeds on the test images, so its own error counts against the race.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.stats import kendalltau
from tables import Bools, Table, read_table

from scalesearch.study.posterior import Floats32
from scalesearch.study.race import ORDER_EPOCHS, Race, Results, advance, exhaustive, recommended, usual
from scalesearch.study.row import BASELINE

STEPS_PER_EPOCH = 75  # of the tables' trainings
JUDGES = 2  # seeds of a network
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """What one repeat draws: an order of seeds for each network, those of them that judge, and validation images."""

    seeds: Ints
    judges: Ints
    images: Ints

    def right(self, table: Table, place: int, seed: int, epochs: int) -> Bools:
        """Which of the drawn images a training got right after some epochs."""
        order = self.seeds[place]
        return np.asarray(table.validation[place, order[seed % len(order)], table.rungs.index(epochs)][self.images])

    def soft(self, table: Table, place: int, seed: int, epochs: int) -> Floats32:
        """Their soft scores, from 0 to 1."""
        order = self.seeds[place]
        kept = table.soft[place, order[seed % len(order)], table.rungs.index(epochs)]
        return np.asarray(kept[self.images] / np.float32(255))

    def judged(self, table: Table, place: int, images: Ints | slice = slice(None)) -> float:
        """The score of a network by the seeds that judge."""
        return float(table.test[place, self.judges[place]][:, images].mean() * table.factors[place])


@dataclass(frozen=True)
class Pick:
    """A strategy's choice (a place in the table) and what it cost."""

    place: int
    compute: float


def draw(table: Table, rng: np.random.Generator) -> Draw:
    """One repeat's world."""
    networks, seeds, _, images = table.validation.shape
    order = np.stack([rng.permutation(seeds) for _ in range(networks)])
    kept = JUDGES if seeds > 2 * JUDGES - 1 else 0  # else all are seen, and all judge
    return Draw(order[:, : seeds - kept], order[:, -kept:], rng.integers(0, images, images, dtype=np.int64))


def race(table: Table, world: Draw, rungs: Race) -> tuple[Results, float]:
    """Our search on the table: the same ``advance`` that a real one uses. Its results, and what they cost."""
    results, field = Results(), table.field()
    reached: dict[tuple[int, int], int] = {}
    baseline, compute = table.names.index("baseline"), 0.0
    while wanted := advance(rungs, field, results).wanted:
        for number, seed, epochs in wanted:
            place = baseline if number == BASELINE else number
            shown = (table, place, seed, epochs)
            results.add((number, seed, epochs), world.right(*shown), world.soft(*shown))
            compute += table.work[place] * (epochs - reached.get((number, seed), 0))
            reached[number, seed] = epochs
    return results, compute / table.full


def races(table: Table) -> dict[str, Race]:
    """The default race, one that orders candidates first, and everything three times."""
    candidates, always = len(table.candidates), len(table.field().always)
    default = usual(table.full, STEPS_PER_EPOCH, candidates, always, further=candidates // 2)
    return {
        "race": default,
        "race, ordering first": replace(default, order=ORDER_EPOCHS),
        "exhaustive, 3 seeds": exhaustive(replace(default, further=0), 3),
    }


def ours(kind: str) -> Callable[[Table, Draw, np.random.Generator], Pick]:
    """Our search; ``kind``: of ``races``."""

    def pick(table: Table, world: Draw, rng: np.random.Generator) -> Pick:
        results, compute = race(table, world, races(table)[kind])
        believed = results.posterior(table.field(), table.full)
        assert believed is not None
        return Pick(recommended(believed, table.full, results), compute)

    return pick


def fully(seeds: int) -> Callable[[Table, Draw, np.random.Generator], Pick]:
    """Everything trained fully, the highest mean score taken: exhaustive search, or a plain grid with one seed."""

    def pick(table: Table, world: Draw, rng: np.random.Generator) -> Pick:
        scores = {p: np.mean([_score(table, world, p, s, table.full) for s in range(seeds)]) for p in table.candidates}
        return Pick(max(scores, key=lambda p: scores[p]), seeds * sum(table.work[p] for p in table.candidates))

    return pick


def some(share: float, order: str) -> Callable[[Table, Draw, np.random.Generator], Pick]:
    """Candidates trained fully, one seed each, until ``share`` of exhaustive search's compute is spent.

    ``order``: "grid" goes through the list as Optuna's GridSampler would, in an order of its seed's; "random" draws
    with replacement, so a candidate may come again with its next seed.
    """

    def pick(table: Table, world: Draw, rng: np.random.Generator) -> Pick:
        budget = share * 3 * sum(table.work[p] for p in table.candidates)
        places = table.candidates
        drawn = rng.permutation(places) if order == "grid" else rng.choice(places, 4 * len(places))
        scores: dict[int, list[float]] = {}
        spent = 0.0
        for place in drawn:
            if scores and spent + table.work[place] > budget:
                break
            own = scores.setdefault(int(place), [])
            own.append(_score(table, world, int(place), len(own), table.full))
            spent += float(table.work[place])
        return Pick(max(scores, key=lambda p: float(np.mean(scores[p]))), spent)

    return pick


def tpe_hyperband(share: float) -> Callable[[Table, Draw, np.random.Generator], Pick]:
    """Optuna's TPE over the shares of depth and width (resolution takes the rest), Hyperband over epochs."""

    def pick(table: Table, world: Draw, rng: np.random.Generator) -> Pick:
        budget = share * 3 * sum(table.work[p] for p in table.candidates)
        seed = int(rng.integers(2**31))
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=table.full, reduction_factor=3),
        )  # fmt: skip
        spent, seen = 0.0, dict.fromkeys(table.candidates, 0)
        best: tuple[int, float, int] | None = None
        while spent < budget:
            trial = study.ask()
            depth = trial.suggest_float("depth", 0, 1)
            width = trial.suggest_float("width", 0, 1)
            place = _nearest(table, depth, (1 - depth) * width)
            value, before = 0.0, 0
            for epochs in table.rungs:
                spent += float(table.work[place]) * (epochs - before) / table.full
                before = epochs
                value = _score(table, world, place, seen[place], epochs)
                trial.report(value, epochs)
                if best is None or (epochs, value) > best[:2]:
                    best = (epochs, value, place)
                if trial.should_prune() or spent >= budget:
                    break
            seen[place] += 1
            study.tell(trial, value)
        assert best is not None
        return Pick(best[2], spent)

    return pick


def _nearest(table: Table, depth: float, width: float) -> int:
    """The candidate whose shares of log FLOPs come nearest."""
    points = np.array([table.shares[p] for p in table.candidates])
    wanted = np.array([depth, width, 1 - depth - width])
    return table.candidates[int(np.argmin(((points - wanted) ** 2).sum(1)))]


def _score(table: Table, world: Draw, place: int, seed: int, epochs: int) -> float:
    return float(world.right(table, place, seed, epochs).mean() * table.factors[place])


STRATEGIES: dict[str, Callable[[Table, Draw, np.random.Generator], Pick]] = {
    "exhaustive, 3 seeds": fully(3),
    "grid, all, 1 seed": fully(1),
    "scalesearch": ours("race"),
    "scalesearch, ordering": ours("race, ordering first"),
    "grid, a tenth": some(0.1, "grid"),
    "random, a tenth": some(0.1, "random"),
    "TPE + Hyperband, a tenth": tpe_hyperband(0.1),
    "random, a third": some(1 / 3, "random"),
    "TPE + Hyperband, a third": tpe_hyperband(1 / 3),
}


def strategies(table: Table, repeats: int) -> None:
    """The first table: regret, its standard error over repeats and its spread, against compute."""
    best = max(table.scores[p] for p in table.candidates)
    print(f"{'strategy':28}{'compute':>9}{'of exhaustive':>15}{'regret':>9}{'median':>9}{'sd':>8}{'s.e.':>8}")
    whole = 0.0
    for name, strategy in STRATEGIES.items():
        rng = np.random.default_rng(0)
        worlds = [draw(table, rng) for _ in range(repeats)]
        picks = [strategy(table, world, rng) for world in worlds]
        regret = np.array([best - world.judged(table, pick.place) for world, pick in zip(worlds, picks, strict=True)])
        compute = float(np.mean([pick.compute for pick in picks]))
        whole = whole or compute
        print(
            f"{name:28}{compute:9.2f}{compute / whole:15.1%}{regret.mean():9.4f}{np.median(regret):9.4f}"
            f"{regret.std(ddof=1):8.4f}{regret.std(ddof=1) / np.sqrt(repeats):8.4f}"
        )


def cheaper(path: Path, variants: list[str], repeats: int) -> None:
    """The second table: ways of training cheaply, one seed each, against the truth."""
    table = read_table(path)
    best = max(table.scores[p] for p in table.candidates)
    ways = [(None, epochs) for epochs in table.rungs] + [(name, None) for name in variants if name != table.variant]
    print(f"{'way':16}{'epochs':>7}{'tau':>7}{'95 % interval':>18}{'best in 3':>11}{'regret':>9}{'sd':>8}")
    for variant, rung in ways:
        other = read_table(path, variant)
        epochs = rung if rung is not None else other.rungs[-1]
        places = [table.names.index(other.names[p]) for p in other.candidates]
        if 2 * len(places) < len(table.candidates):
            continue  # the controls alone rank nobody
        rng = np.random.default_rng(0)
        taus, regrets, hits = [], [], []
        for _ in range(repeats):
            judge = draw(table, rng)
            world = judge if variant is None else draw(other, rng)
            images = rng.integers(0, table.test.shape[2], table.test.shape[2], dtype=np.int64)
            scores = [_score(other, world, p, 0, epochs) for p in other.candidates]
            own = [judge.judged(table, p, images) for p in places]
            taus.append(float(kendalltau(scores, own).statistic))
            hits.append(int(np.argmax(own)) in np.argsort(scores)[-3:])
            regrets.append(best - judge.judged(table, places[int(np.argmax(scores))]))
        low, high = np.quantile(taus, [0.025, 0.975])
        print(
            f"{variant or table.variant:16}{epochs:7d}{np.mean(taus):7.2f}{f'{low:.2f} to {high:.2f}':>18}"
            f"{np.mean(hits):11.0%}{np.mean(regrets):9.4f}{np.std(regrets, ddof=1):8.4f}"
        )


def sets(table: Table, repeats: int) -> None:
    """The third table: does the 90 % set hold the best, how many others, and does the choice lose what was said?"""
    best = max(table.candidates, key=lambda p: table.scores[p])
    print(f"{'search':24}{'holds the best':>15}{'size':>7}{'loss':>9}{'said':>9}{'bounded':>9}")
    for name, rungs in races(table).items():
        rng = np.random.default_rng(0)
        rows = []
        for _ in range(repeats):
            results, _ = race(table, draw(table, rng), rungs)
            believed = results.posterior(table.field(), table.full)
            assert believed is not None
            choice, members = recommended(believed, table.full, results), believed.credible_set()
            loss = table.scores[best] - table.scores[choice]
            within = loss <= believed.loss_bound(choice)
            rows.append((best in members, len(members), loss, believed.expected_loss(choice), within))
        holds, size, loss, said, bounded = np.mean(np.array(rows, dtype=np.float64), axis=0)
        print(f"{name:24}{holds:15.0%}{size:7.1f}{loss:9.4f}{said:9.4f}{bounded:9.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).parent
    parser.add_argument("tables", type=Path, nargs="*", default=sorted(here.glob("*.npz")))
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for path in options.tables:
        with np.load(path) as kept:
            variants = [name.removesuffix("_validation") for name in kept.files if name.endswith("_validation")]
        table = read_table(path)
        ranked = sorted(table.candidates, key=lambda p: -table.scores[p])
        print(f"\n{path.stem}: {len(ranked)} candidates, {table.validation.shape[1]} seeds; true scores", end=" ")
        print(", ".join(f"{table.names[p]}{'*' if table.controls[p] else ''} {table.scores[p]:.4f}" for p in ranked))
        cheaper(path, variants, options.repeats)
        if table.full > ORDER_EPOCHS and table.validation.shape[1] > 1:  # else no search has what it asks for
            strategies(table, options.repeats)
            sets(table, options.repeats)


if __name__ == "__main__":
    main()
