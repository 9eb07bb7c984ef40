"""What a result costs a search: taking it in, asking the race, and bringing the answer's files up to date.

``python -m benchmarks.answer_speed --candidates 100 --images 5000``: made-up results of the usual race (10 epochs), one
after another as a search gets them; median and largest time a result, the time to draw the bootstrap once, peak memory.
"""

import argparse
import resource
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from scalesearch.design.candidates import Candidate
from scalesearch.design.cost import cost
from scalesearch.design.scaling import PAPER, Multipliers
from scalesearch.design.space import load_space
from scalesearch.files import write_json
from scalesearch.study.answer import conclude
from scalesearch.study.posterior import Network
from scalesearch.study.race import Field, Results, advance, exhaustive, usual
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import DRAWS, image_draws

SPEC = load_space("mbconv_small").baseline
FULL, STEPS_PER_EPOCH = 10, 100
NOTHING = (0.0, 0.0, 0.0, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--exhaustive", action="store_true", help="every candidate three times to the end")
    parser.add_argument("--results", type=int, default=0, help="stop after so many; 0: when the race is over")
    asked = parser.parse_args()
    macs, controls = 2 * cost(SPEC).macs, ("depth", "width", "resolution", "paper")
    shares = np.random.default_rng(1).dirichlet(np.ones(3), asked.candidates)
    candidates = [
        Candidate(
            n, SPEC, macs, 2.0, SPEC, macs, 2.0, (PAPER,), Multipliers(2**depth, 2 ** (width / 2), 2 ** (px / 2)),
            controls[n] if n < len(controls) else "",
        )
        for n, (depth, width, px) in enumerate(shares)
    ]  # fmt: skip
    takers = [Network(c.index, 0.95, (*c.multipliers.shares, 0.0)) for c in candidates]
    field = Field((Network(BASELINE, 1.0, NOTHING), *takers), frozenset(range(len(controls))), 0.1)
    further = 0 if asked.exhaustive else asked.candidates // 2
    usually = usual(FULL, STEPS_PER_EPOCH, asked.candidates, len(controls), further=further)
    race = exhaustive(usually, 3) if asked.exhaustive else usually
    began = time.perf_counter()
    image_draws(asked.images, DRAWS)  # as the search asks for them
    drawn = time.perf_counter() - began
    rng, results = np.random.default_rng(0), Results()
    difficulty, ability = rng.normal(0, 1.5, asked.images), rng.normal(0.3, 0.1, asked.candidates + 1)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = advance(race, field, results).wanted
        while wanted and not (asked.results and len(times) >= asked.results):
            number, seed, epochs = wanted[0]
            logit = ability[number] + 0.05 * epochs + difficulty + rng.normal(0, 0.05)
            probability = 1 / (1 + np.exp(-logit))
            right, soft = rng.random(asked.images) < probability, probability.astype(np.float32)
            began = time.perf_counter()
            results.add((number, seed, epochs), right, soft)
            results.sample(number, epochs)  # as a search does when a training ends
            state = advance(race, field, results)
            answer = conclude(race, state, field, candidates, results, {})
            if answer is not None:
                write_json(Path(folder) / "winners.json", asdict(answer))
            times.append(time.perf_counter() - began)
            wanted = state.wanted
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{asked.candidates} candidates × {asked.images} images, {len(times)} results: median "
        f"{1e3 * statistics.median(times):.1f} ms, 95 % below {1e3 * float(np.quantile(times, 0.95)):.1f} ms, largest "
        f"{1e3 * max(times):.1f} ms; bootstrap drawn once in {drawn:.2f} s; peak {peak:.0f} MB"
    )


if __name__ == "__main__":
    main()
