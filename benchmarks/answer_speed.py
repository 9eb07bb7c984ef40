"""What a result costs a search: taking it in, asking the race, and bringing the answer's files up to date.

``python -m benchmarks.answer_speed --candidates 100 --images 5000``: made-up results of the usual race (18 epochs), one
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
from scalesearch.design.scaling import Coefficients
from scalesearch.design.space import load_space
from scalesearch.files import write_json
from scalesearch.study.answer import conclude
from scalesearch.study.race import Results, advance, exhaustive, usual
from scalesearch.study.statistics import DRAWS, image_draws

SPEC = load_space("mbconv_small").baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--exhaustive", action="store_true", help="every candidate three times in one rung")
    parser.add_argument("--results", type=int, default=0, help="stop after so many; 0: when the race is over")
    asked = parser.parse_args()
    macs = cost(SPEC).macs
    controls = ("depth", "width", "resolution")
    candidates = [
        Candidate(n, SPEC, (Coefficients(1.2, 1.1, 1.15),), 2 * macs, 2.0, controls[n] if n < 3 else "")
        for n in range(asked.candidates)
    ]
    race = exhaustive(usual(18, 3)) if asked.exhaustive else usual(18)
    began = time.perf_counter()
    image_draws(asked.images, DRAWS)  # as the search asks for them
    drawn = time.perf_counter() - began
    rng, runners, results = np.random.default_rng(0), {c.index: 0.95 for c in candidates}, Results()
    difficulty, ability = rng.normal(0, 1.5, asked.images), rng.normal(0.3, 0.1, asked.candidates + 1)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = advance(race, runners, results).wanted
        while wanted and not (asked.results and len(times) >= asked.results):
            number, seed, epochs = wanted[0]
            logit = ability[number] + 0.05 * epochs + difficulty + rng.normal(0, 0.05)
            right = rng.random(asked.images) < 1 / (1 + np.exp(-logit))
            began = time.perf_counter()
            results.add((number, seed, epochs), right)
            results.sample(number, epochs)  # as a search does when a training ends
            state = advance(race, runners, results)
            answer = conclude(race, state, candidates, results, macs)
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
