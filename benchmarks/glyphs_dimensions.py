"""Is the embedded set honest? Depth, width and resolution must each change accuracy on it, and nothing saturate.

    python benchmarks/glyphs_dimensions.py --space mbconv_small --target-flops 3M
    python benchmarks/glyphs_dimensions.py --space efficientnet_b0 --target-flops 400M --lr 7e-4 2e-3 6e-3

Trains what a search on a CPU would: its baseline, its three controls and the paper's triple, each at twice the cost of
the baseline as trained, with several seeds and at each learning rate. Prints what multipliers they really have, and
validation accuracy after the first rung and at the end: mean and standard deviation between seeds.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

from scalesearch.api.options import SearchOptions
from scalesearch.api.search import SearchJob, prepare
from scalesearch.data.batches import Augment
from scalesearch.design.cost import cost
from scalesearch.design.scaling import realised
from scalesearch.running.executor import mapped
from scalesearch.running.processes import Processes
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.study.plan import trial
from scalesearch.study.row import BASELINE

Accuracies = dict[tuple[int, int], list[float]]  # by candidate and epochs, a seed each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--space", default="mbconv_small")
    parser.add_argument("--target-flops", default="3M")
    parser.add_argument("--proxy-flops")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--lr", type=float, nargs="+", default=[None])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    for lr in given.lr:
        asked = SearchOptions(
            given.data, space=given.space, target_flops=given.target_flops, proxy_flops=given.proxy_flops,
            images=given.images, epochs=given.epochs, lr=lr, device="cpu",
        )  # fmt: skip
        job = prepare(asked)
        report(job, trained(job, given.seeds, given.jobs))


def trained(job: SearchJob, seeds: int, jobs: int) -> Accuracies:
    """Trains as a race does: all to the first rung, then all to the end."""
    plan, parts, candidates = job.plan, job.parts, job.enumeration.candidates
    numbers = [BASELINE, *(c.index for c in candidates if c.control)]
    setting = Setting(parts.train, {"validation": parts.validation}, Augment(flip=parts.source.flip), "cpu")
    accuracies: Accuracies = {}
    with tempfile.TemporaryDirectory() as folder:
        for until in sorted({job.race.order or plan.train.epochs, plan.train.epochs}):
            work = [
                Assignment(trial(plan, candidates, (number, seed, until)), Path(folder) / f"{number}-{seed}")
                for seed in range(seeds)
                for number in numbers
            ]
            for one, outcome in mapped(Processes(partial(run_trial, setting), jobs), work):
                seen = outcome.measurement
                accuracies.setdefault((one.trial.candidate, until), []).append(seen.correct / seen.images)
    return accuracies


def report(job: SearchJob, accuracies: Accuracies) -> None:
    """One table: what each network has, and how often it was right."""
    plan, candidates, small = job.plan, job.enumeration.candidates, job.plan.proxy.baseline
    rungs = sorted({until for _, until in accuracies})
    reference = statistics.mean(accuracies[BASELINE, plan.train.epochs])
    print(
        f"\n{plan.space}, {plan.data}: {len(job.parts.train)} training, {plan.validation} validation images, batch "
        f"{plan.train.batch_size}, lr {plan.train.lr:g}, {len(accuracies[BASELINE, rungs[0]])} seeds\n"
    )
    print(
        "| network | depth × | width × | px | MFLOPs |", *(f"after {until} epochs | sd |" for until in rungs), "gain |"
    )
    print("|---|--:|--:|--:|--:|" + "--:|--:|" * len(rungs) + "--:|")
    for number in sorted({number for number, _ in accuracies}):
        name, spec = (
            ("baseline", small) if number == BASELINE else (candidates[number].control, candidates[number].trained)
        )
        has = realised(small, spec)
        cells = [name, f"{has.depth:.2f}", f"{has.width:.2f}", f"{spec.resolution}", f"{cost(spec).macs / 1e6:.2f}"]
        for until in rungs:
            seen = accuracies[number, until]
            cells += [f"{statistics.mean(seen):.1%}", f"{statistics.stdev(seen):.1%}" if len(seen) > 1 else "–"]
        gain = statistics.mean(accuracies[number, plan.train.epochs]) - reference
        print("|", " | ".join((*cells, f"{gain:+.1%}")), "|", flush=True)


if __name__ == "__main__":
    main()
