"""How many claims a second does the ledger take, with a thousand workers asking at once, and is any given twice?

    python benchmarks/ledger.py --workers 1000 --trials 20000

Starts a PostgreSQL of its own (Debian's packages) with its usual settings, fsync among them. Workers are threads in
``--processes`` processes, as many claims at once as there are connections; each claims a trial, finishes it with a row
and predictions of 10 000 images as a real one has, and asks again. Afterwards the table is checked against what the
workers say that they did.
"""

import argparse
import json
import multiprocessing
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from sqlalchemy import create_engine

from scalesearch.running.ledger import Ledger
from scalesearch.running.provenance import hardware, versions
from scalesearch.running.storage import Storage, storage_url
from scalesearch.study.outcomes import packed
from scalesearch.study.row import Key, parse_row
from tests import postgres
from tests.rows import make_row

IMAGES = 10_000


Done = tuple[list[Key], list[float], int]  # by one process: trainings, seconds of each, bytes of predictions


def work(url: str, workers: int, connections: int, trials: int, queue: "multiprocessing.Queue[Done]") -> None:
    """One coordinator's process with many workers."""
    storage = Storage(storage_url(Path(), url))
    storage._engine = create_engine(storage.url, pool_size=connections, max_overflow=0, pool_timeout=600)
    ledger = Ledger(storage, "benchmark", parse_row)
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 100, IMAGES), rng.integers(0, 100, IMAGES)
    content = packed(labels, predictions, rng.random(IMAGES, np.float32))
    wanted: set[Key] = {(number, 0, 1) for number in range(trials)}
    done: list[Key] = []
    seconds: list[float] = []

    def one_worker() -> None:
        while True:
            began = time.perf_counter()
            claim = ledger.claim(wanted)
            if claim is None:
                return
            assert ledger.finish(claim, make_row(*claim.key), content)
            seconds.append(time.perf_counter() - began)
            done.append(claim.key)

    threads = [threading.Thread(target=one_worker) for _ in range(workers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    storage.close()
    queue.put((done, seconds, len(content)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=25, help="of each process")
    given = parser.parse_args()
    with postgres.server() as server:
        storage = Storage(storage_url(Path(), server.url))
        ledger = Ledger(storage, "benchmark", parse_row)
        ledger.want([(number, 0, 1) for number in range(given.trials)])
        queue: multiprocessing.Queue[Done] = multiprocessing.Queue()
        share = given.workers // given.processes
        processes = [
            multiprocessing.Process(target=work, args=(server.url, share, given.connections, given.trials, queue))
            for _ in range(given.processes)
        ]
        began = time.perf_counter()
        for process in processes:
            process.start()
        answers = [queue.get() for _ in processes]
        wall = time.perf_counter() - began
        for process in processes:
            process.join()
        stored = [one.row.candidate for one in ledger.finished()]
        storage.close()
    done = [key for keys, _, _ in answers for key in keys]
    seconds = [one for _, several, _ in answers for one in several]
    twice = sum(count > 1 for count in Counter(done).values())
    print(
        json.dumps(
            {
                "workers": given.workers, "processes": given.processes, "trials": given.trials,
                "seconds": round(wall, 2), "claims_per_second": round(given.trials / wall, 1),
                "claim_and_finish_ms_median": round(1000 * median(seconds), 1),
                "claim_and_finish_ms_p95": round(1000 * quantiles(seconds, n=20)[-1], 1),
                "bytes_of_predictions": answers[0][2],
                "done_twice": twice, "lost": given.trials - len(set(stored)),
                "rows_twice": len(stored) - len(set(stored)),
                "hardware": hardware("cpu"), "versions": {**versions(), "postgresql": server.version()},
            },
            indent=2,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
