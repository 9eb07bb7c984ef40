"""How far the answers of a search may be trusted: searches of simulated worlds, their claims held against the truth.

    python benchmarks/answers/report.py [--worlds "CIFAR-10" "all equal"] [--designs race] [--repeats 300]
                                        [--first 1000] [--out runs/answers] [--soft] [--others]

The searches are the project's own (``race.advance``), the trainings made up (worlds.py). Every search is kept as a line
of a file under ``--out``, and only those that are missing are searched. Repeats below 1000 chose the model's constants;
it is judged by others. Columns, over the repeats, scores in points:

* set, holds: size of the 90 % set, and how often it holds the best candidate.
* test, holds: the same of those that no other beats (``not_beaten``); who was not trained to the end is not judged.
* loss, said: what the choice lies below the best one, and the mean of what was expected.
* bounded: how often it lies within the 90 % bound.
* covered: how often the 95 % interval of the choice's lead over a control holds the truth, of all three controls.
* false: searches that say "better" of a control (95 % interval above 0) that is as good or better.
* compute: of an exhaustive search's with three seeds, the baseline not counted.

The second table, which an empty --others leaves out, has others' choices at the compute of the race, repeat by repeat:
what they lie below the best one.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path

import numpy as np
import optuna
from worlds import CONTROLS, FULL, KINDS, RUNGS, World, world

from scalesearch.study.answer import undecided
from scalesearch.study.race import ORDER_EPOCHS, Field, Race, Results, advance, recommended, usual
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import not_beaten, seed_spread, weigh

sys.path.insert(0, str(Path(__file__).parents[1] / "truth"))
from regret import Draw, Pick, fully, some, tpe_hyperband
from tables import Bools, Table

SEEDS = 3  # of the exhaustive search that compute is measured by
STEPS_PER_EPOCH = 75
DESIGNS: dict[str, Callable[[int], Race]] = {
    "race": lambda candidates: usual(FULL, STEPS_PER_EPOCH, candidates, len(CONTROLS), further=candidates // 2),
    "race, ordering first": lambda candidates: Race(FULL, ORDER_EPOCHS, further=candidates // 2),
    "until 0.5 points": lambda candidates: usual(FULL, STEPS_PER_EPOCH, candidates, len(CONTROLS), further=None),
    **{
        f"exhaustive, {seeds} seed{'s' * (seeds > 1)}": lambda _, seeds=seeds: Race(FULL, 0, seeds)
        for seeds in (1, 2, 3)
    },
}


@dataclass(frozen=True)
class Outcome:
    """What one search claimed, and what was true; see the columns above. Without an answer all but its cost is NaN."""

    repeat: int
    compute: float
    size: float = nan
    holds: float = nan
    test_size: float = nan
    test_holds: float = nan
    loss: float = nan
    said: float = nan
    bounded: float = nan
    covered: float = nan
    false: float = nan


def searched(truth: World, design: str, soft: bool) -> Outcome:
    """One search of a world."""
    race, results = DESIGNS[design](len(truth.scores)), Results()
    field = Field(truth.networks, frozenset(CONTROLS), 0.1)
    reached: dict[tuple[int, int], int] = {}
    while (state := advance(race, field, results)).wanted:
        for number, seed, epochs in state.wanted:
            shown = truth.shown(number, seed, epochs)
            right, softly = (None, None) if shown is None else (shown.right, shown.soft if soft else None)
            results.add((number, seed, epochs), right, softly)
            if number != BASELINE:
                reached[number, seed] = max(epochs, reached.get((number, seed), 0))
    compute = sum(reached.values()) / FULL / SEEDS / len(truth.scores)
    believed = results.posterior(field, FULL)
    if believed is None or undecided(race, field, results, believed):
        return Outcome(truth.repeat, compute)
    choice, scores = recommended(believed, FULL, results), truth.scores
    best = set(np.flatnonzero(scores >= scores.max() - 1e-9).tolist())
    members = set(believed.credible_set())
    gaps = {n: believed.advantage(choice, n) for n in CONTROLS if n != choice and n in believed.numbers}
    true = {n: scores[choice] - scores[n] for n in gaps}
    loss = float(scores.max() - scores[choice])
    judged = [n for n in field.candidates if results.seeds(n, FULL)]
    evidence = weigh(
        [results.sample(n, FULL) for n in judged],
        [field.factors[n] for n in judged],
        seed_spread([results.sample(n, FULL) for n in results.numbers(FULL)]),
    )
    beaten = {n for n, inside in zip(judged, not_beaten(evidence), strict=True) if not inside}
    return Outcome(
        truth.repeat, compute, size=len(members), holds=bool(best & members), test_size=len(scores) - len(beaten),
        test_holds=bool(best - beaten), loss=loss, said=believed.expected_loss(choice),
        bounded=loss <= believed.loss_bound(choice) + 1e-9,
        covered=float(np.mean([gap.low <= true[n] <= gap.high for n, gap in gaps.items()] or [nan])),
        false=any(gap.low > 0 and true[n] <= 1e-9 for n, gap in gaps.items()),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Made(Draw):
    """A made-up world as the strategies of benchmarks/truth read one; a training that fails gets nothing right."""

    truth: World

    def right(self, table: Table, place: int, seed: int, epochs: int) -> Bools:
        shown = self.truth.shown(place, seed, epochs)
        return np.zeros(self.truth.kind.images, bool) if shown is None else shown.right


def as_table(truth: World) -> Table:
    """The candidates' facts without any training's."""
    rows, empty = truth.networks[1:], np.zeros((0, 0), bool)
    shares = tuple((row.features[0], row.features[1], row.features[2]) for row in rows)
    return Table(
        variant="", names=tuple(f"c{row.number:03}" for row in rows), validation=empty, test=empty,
        soft=empty.astype(np.uint8), rungs=tuple(RUNGS), factors=np.array([row.factor for row in rows]),
        work=np.ones(len(rows)), controls=("",) * len(rows), shares=shares, classes=10,
    )  # fmt: skip


def halving(share: float) -> Callable[[Table, Draw, np.random.Generator], Pick]:
    """Successive halving by thirds, 2, 6 and 18 epochs, again with new seeds until the compute is spent."""

    def pick(table: Table, drawn: Draw, rng: np.random.Generator) -> Pick:
        budget, spent, seed = share * SEEDS * len(table.candidates), 0.0, 0
        scores: dict[int, list[float]] = {}
        while True:
            field, before = rng.permutation(table.candidates).tolist(), 0
            for epochs in (2, 6, FULL):
                seen = {}
                for place in field:
                    if scores and spent + (epochs - before) / FULL > budget:
                        return Pick(max(scores, key=lambda p: float(np.mean(scores[p]))), spent)
                    seen[place] = drawn.right(table, place, seed, epochs).mean() * table.factors[place]
                    spent += (epochs - before) / FULL
                    if epochs == FULL:
                        scores.setdefault(place, []).append(seen[place])
                field = sorted(field, key=lambda p: -seen[p])[: -(-len(field) // 3)]
                before = epochs
            seed += 1

    return pick


OTHERS = {
    "random": lambda share: some(share, "random"),
    "grid, one seed": lambda share: some(min(share, 1 / SEEDS), "grid"),
    "TPE + Hyperband": tpe_hyperband,
    "successive halving": halving,
    "everything, three seeds": lambda _: fully(SEEDS),
}


def chosen(truth: World, other: str, share: float) -> Outcome:
    """What another strategy takes, at a share of the exhaustive search's compute."""
    table = as_table(truth)
    none = np.zeros((0, 0), np.int64)
    pick = OTHERS[other](share)(table, Made(none, none, none, truth), np.random.default_rng(truth.repeat))
    compute = pick.compute / SEEDS / len(truth.scores)
    return Outcome(truth.repeat, compute, loss=float(truth.scores.max() - truth.scores[pick.place]))


def kept(file: Path, repeats: range, search: Callable[[int], Outcome]) -> list[Outcome]:
    """The outcomes of all repeats, those read that the file holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    found = [Outcome(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    with file.open("a") as lines:
        for repeat in sorted(set(repeats) - {one.repeat for one in found}):
            found.append(search(repeat))
            print(json.dumps(asdict(found[-1]), default=float), file=lines, flush=True)
    return sorted((one for one in found if one.repeat in repeats), key=lambda one: one.repeat)


def mean(found: list[Outcome], column: str) -> float:
    """Over the searches with an answer; NaN where none has one."""
    values = np.array([getattr(one, column) for one in found], dtype=np.float64)
    return float(np.nanmean(values)) if not np.isnan(values).all() else nan


def line(first: str, found: list[Outcome]) -> str:
    """A row of the first table."""
    shown = {
        "size": ".1f", "holds": ".2f", "test_size": ".1f", "test_holds": ".2f", "loss": ".2f", "said": ".2f",
        "bounded": ".2f", "covered": ".3f", "false": ".3f", "compute": ".0%",
    }  # fmt: skip
    values = {c: mean(found, c) * (100 if c in ("loss", "said") else 1) for c in shown}
    return f"| {first} | {' | '.join('–' if np.isnan(values[c]) else format(values[c], f) for c, f in shown.items())} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--designs", nargs="*", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--others", nargs="*", default=list(OTHERS), choices=OTHERS)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--first", type=int, default=1000, help="number of the first repeat")
    parser.add_argument("--out", type=Path, default=Path("runs/answers"))
    parser.add_argument("--soft", action="store_true", help="searches that keep soft scores")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    softly, repeats = ", soft" * asked.soft, range(asked.first, asked.first + asked.repeats)
    for design in asked.designs:
        print(
            f"\n{design}{softly}\n\n| world | set | holds | test | holds | loss | said | bounded | covered | false |",
            end="",
        )
        print(f" compute |\n|---|{'--:|' * 10}")
        for name in asked.worlds:
            file = asked.out / f"{name}; {design}{softly}.jsonl"
            found = kept(file, repeats, lambda r: searched(world(name, r), design, asked.soft))  # noqa: B023
            print(line(name, found), flush=True)
    if not asked.others:
        return
    print(f"\n| world | race{softly} | {' | '.join(asked.others)} |\n|---|{'--:|' * (1 + len(asked.others))}")
    for name in asked.worlds:
        race = kept(asked.out / f"{name}; race{softly}.jsonl", repeats,
                    lambda r: searched(world(name, r), "race", asked.soft))  # noqa: B023  # fmt: skip
        spent = {one.repeat: one.compute for one in race}
        cells = [f"{100 * mean(race, 'loss'):.2f}"]
        for other in asked.others:
            file = asked.out / f"{name}; {other}{softly}.jsonl"
            found = kept(file, repeats, lambda r: chosen(world(name, r), other, spent[r]))  # noqa: B023
            cells.append(f"{100 * mean(found, 'loss'):.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
