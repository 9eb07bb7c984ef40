"""(d) The truth table of a small space: every candidate with five seeds on all images, as many as the time allows.

Made by benchmarks/truth/train.py in its variant ``full``; the same call continues it, and its ``--pack`` joins what is
there into the file that benchmarks/truth/regret.py reads.
"""

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.gpu.sharing import mps
from benchmarks.gpu.sheet import Request, Row
from benchmarks.gpu.subject import Processes, dataset, mapped, open_data
from benchmarks.truth.train import LARGEST_PX, Job, networks, train

SEEDS, JOBS, TARGET = 5, 8, 1e6


def measure(asked: Request) -> Iterator[Row]:
    """A row for each training that is new, candidate after candidate, the baseline first."""
    source = open_data(asked.data or "glyphs")
    variant = "short2" if asked.tiny else "full"
    data = dataset(source, LARGEST_PX)
    rows = networks(data, TARGET)[: 1 if asked.tiny else None]
    jobs = [
        Job(name, spec, seed, variant, asked.data or "glyphs", LARGEST_PX, asked.out.resolve() / "truth", None,
            str(asked.place))
        for name, spec, _ in rows for seed in range(1 if asked.tiny else SEEDS)
    ]  # fmt: skip
    jobs = [job for job in jobs if not job.file.exists()]
    facts = {name: values for name, _, values in rows}
    for size in {job.spec.resolution for job in jobs}:
        for part in (data.train, data.validation, data.test):
            part.at(size)
    began = time.monotonic()
    with mps(asked):  # without it, eight of these small networks wait for each other most of the time
        for job, _ in mapped(Processes(train, 1 if asked.tiny else JOBS), jobs):
            with np.load(job.file) as kept:
                top1 = float((kept["test"] == kept["test_labels"]).mean())
                seconds = float(kept["seconds"].sum())
            yield {
                "network": job.name, "seed": job.seed, "test top-1": top1, "s": seconds, "px": job.spec.resolution,
                **{key: facts[job.name][key] for key in ("macs", "alpha", "beta", "gamma")},
                "ended after s": time.monotonic() - began,
            }  # fmt: skip
            if asked.left < 0:
                return
