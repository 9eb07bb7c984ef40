"""Enumerating a grid: how long it takes, and how equal the real costs are under each rounding rule.

    python benchmarks/enumeration.py

For every shipped space: nominal triples, distinct networks, the spread of real FLOPs ratios, the share of triples
whose network lies within ±5 % of 2×, and the median seconds of five runs; then B0's grid at a step of 0.01.
"""

import argparse
import statistics
import time

from scalesearch.design.candidates import Enumeration, enumerate_candidates
from scalesearch.design.scaling import Rounding, size_baseline
from scalesearch.design.space import Grid, SearchSpace, load_space, space_names


def timed(space: SearchSpace, grid: Grid, rounding: Rounding, classes: int, repeats: int) -> tuple[Enumeration, float]:
    """The enumeration (any cost kept) and its median seconds."""
    baseline = size_baseline(space, None, classes)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        listed = enumerate_candidates(baseline, grid, rounding, None)
        seconds.append(time.perf_counter() - began)
    return listed, statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(
        f"{'space':<20} {'step':>5} {'rounding':<13} {'triples':>7} {'networks':>8}"
        f" {'real ratio':>12} {'±5 %':>6} {'s':>6}"
    )
    cases = [(name, 0.05) for name in space_names()] + [("efficientnet_b0", 0.01)]
    for name, step in cases:
        for rounding in ("budget", "efficientnet"):
            listed, seconds = timed(load_space(name), Grid(step, 0.1), rounding, given.classes, given.repeats)
            ratios = [c.real_ratio for c in listed.candidates]
            near = sum(len(c.triples) for c in listed.candidates if abs(c.real_ratio / 2 - 1) <= 0.05) / listed.nominal
            spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
            print(
                f"{name:<20} {step:5.2f} {rounding:<13} {listed.nominal:7d} {len(ratios):8d} {spread:>12} {near:6.1%}"
                f" {seconds:6.2f}"
            )


if __name__ == "__main__":
    main()
