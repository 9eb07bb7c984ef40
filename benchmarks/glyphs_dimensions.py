"""Is the embedded set honest? Depth, width and resolution must each change accuracy on it, and nothing saturate.

    python benchmarks/glyphs_dimensions.py --seeds 3 --epochs 8

Trains the demo's baseline, and networks of about 2x its real FLOPs in one dimension only, with several seeds, and
prints validation accuracy: mean, standard deviation between seeds, and the difference to the baseline.
"""

import argparse
import statistics
from dataclasses import replace
from functools import partial

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.cost import cost
from scalesearch.design.scaling import Coefficients, scale, size_baseline
from scalesearch.design.space import load_space
from scalesearch.running.executor import mapped
from scalesearch.running.processes import Processes
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Trial

DIMENSIONS = {
    "baseline": Coefficients(1, 1, 1),
    "depth only": Coefficients(2, 1, 1, 2.0),
    "width only": Coefficients(1, 2**0.5, 1, 2.0),
    "resolution only": Coefficients(1, 1, 2**0.5, 2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--space", default="mbconv_small")
    parser.add_argument("--target-macs", type=float, default=3e6)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    source = open_data(given.data)
    base = size_baseline(load_space(given.space), given.target_macs, len(source.classes))
    data = dataset(source, 2 * base.resolution, given.images)
    train = TrainConfig(epochs=given.epochs, batch_size=32, lr=3e-3, warmup_epochs=1)
    specs = {name: base if name == "baseline" else scale(base, c, 1) for name, c in DIMENSIONS.items()}
    jobs = [
        Assignment(Trial(number, name, spec, spec, replace(train, seed=seed), train.epochs))
        for seed in range(given.seeds)
        for number, (name, spec) in enumerate(specs.items())
    ]
    setting = Setting(data.train, data.validation, Augment(flip=source.flip), "cpu")
    for size in {spec.resolution for spec in specs.values()}:  # decode before workers ask
        data.train.at(size)
        data.validation.at(size)
    accuracies: dict[str, list[float]] = {name: [] for name in specs}
    for job, outcome in mapped(Processes(partial(run_trial, setting), given.jobs), jobs):
        accuracies[job.trial.name].append(outcome.measurement.correct / outcome.measurement.images)
    reference = statistics.mean(accuracies["baseline"])
    print(f"{source.name}: {len(data.train)} training, {len(data.validation)} validation images, {given.seeds} seeds")
    print(f"{'network':<16} {'px':>4} {'MFLOPs':>7} {'accuracy':>9} {'sd':>6} {'gain':>7}")
    for name, spec in specs.items():
        mean = statistics.mean(accuracies[name])
        spread = statistics.stdev(accuracies[name]) if given.seeds > 1 else float("nan")
        macs = cost(spec).macs / 1e6
        print(f"{name:<16} {spec.resolution:4d} {macs:7.2f} {mean:9.1%} {spread:6.1%} {mean - reference:+7.1%}")


if __name__ == "__main__":
    main()
