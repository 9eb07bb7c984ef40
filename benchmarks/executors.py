"""The same trainings in one process, on two processes, and on a local Ray cluster of two CPUs: seconds and speed-up.

    python benchmarks/executors.py --rounds 3

Each round runs the three one after another, in another order. The seconds include the start and the end of the workers.
The accuracies must be the same everywhere.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.scaling import size_baseline
from scalesearch.design.space import load_space
from scalesearch.running.executor import Beat, mapped
from scalesearch.running.provenance import hardware, versions
from scalesearch.running.trial import Assignment, Outcome, Setting, run_trial
from scalesearch.running.workers import Workers
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Trial


def timed(workers: Workers, setting: Setting, jobs: list[Assignment]) -> tuple[float, dict[int, int]]:
    """Seconds of all, and the images right by seed."""
    began = time.perf_counter()
    run: Callable[[Assignment, Beat], Outcome] = partial(run_trial, setting)
    correct = {job.trial.train.seed: outcome.measurement.correct for job, outcome in mapped(workers.start(run), jobs)}
    return time.perf_counter() - began, correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--without-ray", action="store_true")
    given = parser.parse_args()
    source = open_data("glyphs")
    spec = size_baseline(load_space("mbconv_small"), 3e6, len(source.classes))
    data = dataset(source, 2 * spec.resolution, given.images)
    config = TrainConfig(epochs=given.epochs, batch_size=32, lr=3e-3, warmup_epochs=0.5)
    jobs = [
        Assignment(Trial(0, f"c{n:03d}", spec, spec, replace(config, seed=n), given.epochs))
        for n in range(given.trials)
    ]
    setting = Setting(data.train, {"validation": data.validation}, Augment(flip=source.flip), "cpu")
    for part in (data.train, data.validation):
        part.at(spec.resolution)
    ways = {
        "one process": Workers(1),
        "two processes": Workers(2),
        "Ray, two CPUs": Workers(2, "ray", ray_address="local"),
    }
    if given.without_ray:
        del ways["Ray, two CPUs"]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers = []
    for number in range(given.rounds):
        names = list(ways)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken, correct = timed(ways[name], setting, jobs)
            seconds[name].append(taken)
            answers.append(correct)
            print(f"round {number}, {name}: {taken:.1f} s", flush=True)
    middle = {name: median(several) for name, several in seconds.items()}
    print(
        json.dumps(
            {
                "trials": given.trials, "epochs": given.epochs, "images": given.images,
                "seconds": {name: [round(one, 1) for one in several] for name, several in seconds.items()},
                "speed-up, median": {name: round(middle["one process"] / one, 2) for name, one in middle.items()},
                "same answers": all(one == answers[0] for one in answers),
                "hardware": hardware("cpu"), "versions": versions(),
            },
            indent=2,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
