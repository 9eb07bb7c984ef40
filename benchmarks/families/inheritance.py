"""What a family costs, and what it loses, if each member starts from the next smaller one.

    python -m benchmarks.families.inheritance --data data/cifar10_large --run runs/cifar --out runs/inheritance

Four ways, of as many seeds and with learning rates chosen alike on validation images: every member from scratch (or
from ``--weights``); each from the next smaller one with as many epochs, and with half as many; and from scratch again
with so few epochs that the family costs what the cheaper inheritance does. Run again, it goes on where it was.
``--base FOLDER`` takes the first way from families that ``family --train`` has trained by the same options.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import scalesearch
from scalesearch.api.families import members
from scalesearch.design.cost import cost
from scalesearch.study.family_plan import FOUND
from scalesearch.study.family_record import FamilyRecord, read_family
from scalesearch.study.statistics import percentiles, sample, seed_spread, weigh
from scalesearch.units import show_percent, show_seconds

BASE = "each from the start"


def ways(epochs: int, share: float) -> dict[str, dict[str, object]]:
    """Options of each way; ``share``: of the cost of a family of which all but the smallest have half the epochs."""
    smaller: dict[str, object] = {"epochs": epochs, "inherit": "smaller"}
    return {
        BASE: {"epochs": epochs, "inherit": "none"},
        "from the smaller one, equal epochs": {**smaller, "inherited_epochs": epochs},
        "from the smaller one, half the epochs": {**smaller, "inherited_epochs": epochs // 2},
        "each from the start, equal cost": {"epochs": max(1, round(share * epochs)), "inherit": "none"},
    }  # fmt: skip


def found(record: FamilyRecord, phis: Sequence[int]) -> list[int]:
    """Numbers of the found family's members."""
    return [number for number in record.plan.curve(FOUND) if record.plan.phi(number, FOUND) in phis]


def price(record: FamilyRecord, numbers: Sequence[int]) -> tuple[float, float]:
    """Seconds of a family's trainings for the figure, per seed; and multiply-adds of its training images."""
    rows = [row for number in numbers for row in record.of(number)]
    seeds = len({row.seed for row in rows})
    return sum(row.seconds for row in rows) / seeds, sum(row.macs * row.epochs for row in rows) / seeds


def compared(records: dict[str, FamilyRecord], phis: Sequence[int]) -> list[list[str]]:
    """A row a way: accuracy of each member, its mean lead over the base with a 95 % interval, the price."""
    names = [f"b{phi}" for phi in phis]
    members = {way: found(record, phis) for way, record in records.items()}
    pairs = [(way, number) for way in records for number in range(len(names))]
    samples = [sample(records[way].right(members[way][number])) for way, number in pairs]
    evidence = weigh(samples, [1.0] * len(samples), seed_spread(samples))
    place = {pair: index for index, pair in enumerate(pairs)}
    seconds, work = price(records[BASE], members[BASE])
    rows = []
    for way, record in records.items():
        accuracies = [show_percent(samples[place[way, number]].accuracy) for number in range(len(names))]
        ours, base = ([place[one, number] for number in range(1, len(names))] for one in (way, BASE))
        lead = evidence.scores[ours].mean() - evidence.scores[base].mean()
        draws = lead + evidence.deviations[:, ours].mean(axis=1) - evidence.deviations[:, base].mean(axis=1)
        interval = percentiles(float(lead), draws)
        told = f"{100 * lead:+.1f} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})" if way != BASE else ""
        own_seconds, own_work = price(record, members[way])
        rows.append([way, *accuracies, told, show_percent(own_work / work, 0),
                     f"{show_seconds(own_seconds)}, {show_percent(own_seconds / seconds, 0)}"])  # fmt: skip
    columns = ["way", *names, f"{names[1]}… against the first, points (95 %)", "FLOPs spent", "time of a seed"]
    return [columns, ["---"] * len(columns), *rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what is left and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--run")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--space")
    parser.add_argument("--train", default="b0..b3")
    parser.add_argument("--weights")
    parser.add_argument("--source-padding")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(arguments)
    common = {name: getattr(asked, name) for name in ("data", "run", "space", "train", "weights", "source_padding",
                                                      "images", "seeds", "jobs")}  # fmt: skip
    family = scalesearch.family(run=asked.run, space=asked.space)
    phis = members(asked.train)
    macs = [cost(family.members[phi].spec).macs for phi in phis]
    share = (macs[0] + sum(macs[1:]) / 2) / sum(macs)
    records = {}
    for way, options in ways(asked.epochs, share).items():
        print(way, flush=True)
        if way == BASE and asked.base:
            records[way] = read_family(asked.base)
            continue
        out = asked.out / way.replace(",", "").replace(" ", "_")
        trained = scalesearch.family(against="none", out=out, tell=lambda text: print(text, flush=True), **common,
                                     **options).trained  # fmt: skip
        assert trained is not None
        records[way] = read_family(trained.folder)
    for row in compared(records, phis):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
