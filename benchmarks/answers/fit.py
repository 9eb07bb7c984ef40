"""What the truth tables say of the numbers that the simulated worlds (worlds.py) are made of.

    python benchmarks/answers/fit.py [benchmarks/truth/cifar10.npz ...]

Of fully trained candidates on the test images, noise of images taken off wherever a spread is one of networks or of
seeds; and of the same trainings after 4 epochs, on the validation images. Spreads are standard deviations, in points.
"""

import argparse
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scalesearch.study.race import ORDER_EPOCHS

sys.path.insert(0, str(Path(__file__).parents[1] / "truth"))
from tables import Bools, Table, read_table

Floats = NDArray[np.float64]


def image_covariances(right: Bools) -> tuple[float, float, float]:
    """Of one image's answer, from (network, seed, image): between networks, between seeds of one, its variance."""
    trainings = [np.asarray(network, dtype=np.float64) for network in right]
    means = [network.mean(axis=0) for network in trainings]
    networks = [float(np.cov(one, other)[0, 1]) for one, other in permutations(means, 2)]
    seeds = [float(np.cov(a, b)[0, 1]) for network in trainings for a, b in permutations(network, 2)]
    return float(np.mean(networks)), float(np.mean(seeds)), float(np.mean([n.var(axis=1) for n in trainings]))


def spreads(right: Bools, factors: Floats) -> tuple[float, float, float]:
    """Variances from (network, seed, image): between seeds, their part common to a seed's networks, of candidates."""
    count, seeds, images = right.shape
    networks, again, variance = image_covariances(right)
    scores = right.mean(axis=2) * factors[:, None]
    moved = scores - scores.mean(axis=1, keepdims=True)
    within = float((moved**2).sum()) / (count * (seeds - 1))
    together = float((moved.sum(axis=0) ** 2 - (moved**2).sum(axis=0)).sum()) / (count * (count - 1) * (seeds - 1))
    seed = within - (variance - again) / images
    of_means = (within - together) / seeds + (again - networks) / images
    return seed, max(0.0, together), float(scores.mean(axis=1).var(ddof=1)) - of_means


def explained(table: Table, values: Floats) -> str:
    """Which part of the variance of candidates' values their shares of depth, width and resolution explain (adjusted),
    and what they would be with one of them alone, against the mean."""
    shares = np.array([table.shares[place][:2] for place in table.candidates])
    x = np.column_stack((np.ones(len(shares)), shares))
    solved = np.linalg.lstsq(x, values, rcond=None)[0]
    left = ((values - x @ solved) ** 2).sum() / (len(values) - x.shape[1])
    alone = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0]]) @ solved - values.mean()
    return (
        f"shares explain {1 - left / values.var(ddof=1):.0%}; depth, width, resolution alone "
        f"{', '.join(f'{one:+.1f}' for one in alone)}"
    )


def describe(path: Path) -> None:
    """Prints a table's numbers."""
    table = read_table(path)
    places, baseline = table.candidates, table.names.index("baseline")
    right, factors = table.test[places], table.factors[places]
    networks, seeds, variance = image_covariances(right)
    own, common, apart = (100 * max(0.0, value) ** 0.5 for value in spreads(right, factors))
    rung = table.rungs.index(ORDER_EPOCHS)
    early, late = (100 * table.validation[places, :, at].mean(axis=(1, 2)) * factors for at in (rung, -1))
    print(
        f"\n{path.stem}: {len(places)} candidates, {right.shape[1]} seeds, {right.shape[2]} test images; mean accuracy "
        f"{100 * right.mean():.1f} %, baseline {100 * table.test[baseline].mean():.1f} %\n"
        f"an image's answer: covariance {networks:.3f} between networks, {seeds:.3f} seeds, variance {variance:.3f}\n"
        f"seeds' spread {own:.2f}, common to all networks {common:.2f}; candidates {apart:.2f} apart, "
        f"{explained(table, 100 * right.mean(axis=(1, 2)) * factors)}\n"
        f"after {ORDER_EPOCHS} of {table.full} epochs {np.mean(late - early):.1f} less, "
        f"{np.std(early - late, ddof=1):.2f} apart, {explained(table, early - late)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).parents[1] / "truth"
    default = [folder / "cifar10.npz", folder / "tiny_imagenet20.npz"]
    parser.add_argument("tables", type=Path, nargs="*", default=default)
    for path in parser.parse_args().tables:
        describe(path)


if __name__ == "__main__":
    main()
