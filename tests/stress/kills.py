"""Searches that are killed again and again, and what they come to in the end.

    python -m tests.stress.kills --kills 100 --seed 0

Searches on tiny images with 4 workers, on SQLite (one coordinator) and on PostgreSQL (two, which share the study), are
hit at random moments: kill -9 of a worker or of a coordinator, SIGSTOP of one. What was killed is started again. Each
search must end with every training once, and with the table and the predictions of an undisturbed one, bit for bit.
"""

import argparse
import atexit
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.space import Grid, load_space
from scalesearch.running.carry_out import Listener
from scalesearch.running.search import RaceAgenda, search
from scalesearch.running.workers import Workers
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race
from scalesearch.study.row import Row
from tests import postgres

ROOT = Path(__file__).parents[2]
CLOCK = "SCALESEARCH_STRESS_CLOCK"  # says to coordinators that their clock is to be set
JOBS, RETRIES = 4, 1000  # so many that none is given up
STALLED_SECONDS, SILENT_SECONDS = 15.0, 15.0
RACE = Race(4, 1, further=3, tolerance=0.0)
WALL_TIME = ("seconds", "latency_ms")  # the only columns that may differ


def images(folder: Path) -> Path:
    """Two classes of noisy one-colour images."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 48), ("test", 40)):
        for label in range(2):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 200, (20, 20, 3))
                pixels[..., label] += 40
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:03d}.png")
    return folder


def searched(folder: Path, data: Path, jobs: int, storage: str | None, step: float) -> Sequence[Row]:
    """The search that is disturbed, all steps of a race; ``step`` of the grid says of how many networks."""
    parts = dataset(open_data(str(data)), 40)
    baseline = replace(load_space("mbconv_small").baseline, classes=2, resolution=16)
    plan = SearchPlan(
        space="mbconv_small", baseline=baseline, grid=Grid(step, 0.2), rounding="budget", real_tolerance=None,
        target_macs=2e6, data=parts.source.name, data_digest=parts.digest, validation=len(parts.validation),
        majority=0.0, proxy=Proxy(baseline, 4, 96), device="cpu",
        train=TrainConfig(epochs=4, batch_size=16, lr=3e-3, warmup_epochs=0, ema_decay=0.9),
    )  # fmt: skip
    listener = Listener(lambda *_: None, lambda *_: None, lambda text: print(text, flush=True))
    # silence is judged sooner than for people, or a campaign would take a day
    workers = Workers(jobs, retries=RETRIES, stalled_seconds=STALLED_SECONDS, silent_seconds=SILENT_SECONDS)
    agenda = RaceAgenda(plan, plan.enumerate().candidates, RACE)
    return search(folder, agenda, parts, {"data_argument": str(data)}, workers, listener, storage=storage)


Values = dict[str, Any]  # a row as rows.json has it


def comparable(folder: Path) -> tuple[list[Values], dict[str, bytes]]:
    """A run's table without wall times, and its predictions."""
    rows = json.loads((folder / "rows.json").read_text())["rows"]
    table = [{name: value for name, value in row.items() if name not in WALL_TIME} for row in rows]
    return table, {path.name: path.read_bytes() for path in (folder / "predictions").glob("*.npz")}


@dataclass
class Disturbance:
    """What a search went through."""

    hits: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    trainings: int = 0
    searches: int = 0
    seconds: float = 0.0


def disturb(
    folder: Path, data: Path, storage: str | None, kills: int, rng: random.Random, every_seconds: float,
    count: Disturbance, step: float, jobs: int,
) -> None:  # fmt: skip
    """Runs one search to its end, hitting it until ``kills`` kills are counted; two coordinators share a server."""
    began, coordinators = time.monotonic(), 2 if storage else 1
    running: list[subprocess.Popen[bytes]] = []
    stopped: dict[int, float] = {}
    next_hit = began + rng.expovariate(1 / every_seconds)
    log = (folder.parent / f"{folder.name}.log").open("ab")
    try:
        while True:
            for process in list(running):
                if process.poll() is not None:
                    running.remove(process)
                    if process.returncode == 0:
                        return
                    if process.returncode not in (-signal.SIGKILL,):
                        count.faults.append(f"a coordinator ended with {process.returncode}, see {log.name}")
                        return
            while len(running) < coordinators:
                running.append(_coordinator(folder, data, storage, step, jobs // coordinators, log))
            _wake(stopped)
            if time.monotonic() > next_hit and count.hits.total() < kills:
                _hit(running, rng, stopped, count)
                next_hit = time.monotonic() + rng.expovariate(1 / every_seconds)
            time.sleep(0.05)
    finally:
        count.seconds += time.monotonic() - began
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)  # a worker whose coordinator is gone ends by itself, once it may
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
        log.close()


def step_clock(seed: int) -> None:
    """From now on the clock of this process is set again and again, hours back and forth, as far as it can be seen: the
    time of day, when the machine was started, and when processes were, which follows from both."""
    rng, steps = random.Random(seed), [random.Random(seed).uniform(-9000, 9000)]
    now, boot, began = time.time, psutil.boot_time, psutil.Process.create_time

    def step() -> None:
        while True:
            time.sleep(rng.uniform(0.2, 3))
            steps.append(rng.uniform(-9000, 9000))

    time.time = lambda: now() + steps[-1]
    psutil.boot_time = lambda: boot() + steps[-1]
    psutil.Process.create_time = lambda process: began(process) + steps[-1]
    threading.Thread(target=step, daemon=True).start()
    atexit.register(lambda: print(f"the clock was set {len(steps)} times", flush=True))


def _coordinator(
    folder: Path, data: Path, storage: str | None, step: float, jobs: int, log: Any
) -> subprocess.Popen[bytes]:  # fmt: skip
    given = map(str, (folder, data, storage or "", step, jobs))
    command = [sys.executable, "-m", "tests.stress.kills", "search", *given]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def _hit(
    running: Sequence["subprocess.Popen[bytes]"], rng: random.Random, stopped: dict[int, float], count: Disturbance
) -> None:
    coordinator = rng.choice(running).pid
    victim, name = coordinator, "coordinator"
    workers: list[int] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        workers = [one.pid for one in psutil.Process(coordinator).children() if _is_worker(one)]
    if not workers and rng.random() > 0.2:
        return  # one that just starts is hit less often, or nothing would ever get done
    if rng.random() > 0.2:
        if not workers:
            return
        victim, name = rng.choice(sorted(workers)), "worker"
    what = signal.SIGSTOP if rng.random() < 0.1 else signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, what)
        count.hits[f"{name} {'stopped' if what == signal.SIGSTOP else 'killed'}"] += 1
        if what == signal.SIGSTOP:  # long enough to be taken over; a worker's coordinator should have ended it by then
            stopped[victim] = time.monotonic() + 2 * max(SILENT_SECONDS, STALLED_SECONDS)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("running.processes import work" in part for part in process.cmdline())
    return False


def _wake(stopped: dict[int, float]) -> None:
    """What was stopped goes on in the end, when its work has been taken over."""
    for pid, until in list(stopped.items()):
        if time.monotonic() > until:
            del stopped[pid]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def check(
    folder: Path, expected: tuple[list[Values], dict[str, bytes]], shown: list[tuple[int, int, int]], count: Disturbance
) -> None:
    """Adds what is not as in the undisturbed search to the faults."""
    table, predictions = comparable(folder)
    keys = list(map(_key, table))
    if len(set(keys)) < len(keys):
        count.faults.append(f"{folder}: a training stands twice in the results")
    if table != expected[0]:
        count.faults.append(f"{folder}: another table than undisturbed")
    if predictions != expected[1]:
        count.faults.append(f"{folder}: other predictions than undisturbed")
    if sorted(shown) != sorted(map(_key, table)):
        count.faults.append(f"{folder}: the Optuna study shows {len(shown)} of {len(table)} trainings")
    count.trainings += len(keys)
    count.searches += 1


def _key(row: Values) -> tuple[int, int, int]:
    return row["candidate"], row["seed"], row["epochs"]


def shown_in_optuna(folder: Path, storage: str | None) -> list[tuple[int, int, int]]:
    """(candidate, seed, epochs) of every score in the study beside the ledger."""
    from scalesearch.running.optuna_view import open_study
    from scalesearch.running.storage import Storage, storage_url
    from scalesearch.study.plan import SearchPlan

    plan = SearchPlan.from_dict(json.loads((folder / "run.json").read_text())["plan"])
    with contextlib.closing(Storage(storage_url(folder, storage))) as kept:
        told = [(one.user_attrs, one.intermediate_values) for one in open_study(kept, plan).trials]
    return [(one["candidate"], one["seed"], epochs) for one, scores in told for epochs in scores]


@contextlib.contextmanager
def storages(kind: str) -> Iterator[str | None]:
    """The address of a storage of that kind; a server of our own."""
    if kind == "sqlite":
        yield None
        return
    with postgres.server() as server:
        yield server.url


def campaign(
    folder: Path, kind: str, kills: int, seed: int, every_seconds: float = 4.0, step: float = 0.2, jobs: int = JOBS
) -> Disturbance:
    """As many searches, one after another, as it takes to count ``kills`` hits; each is checked.

    ``jobs`` at a time, of all coordinators together.
    """
    rng, count = random.Random(f"{kind}-{seed}"), Disturbance()
    data = images(folder / "images")
    searched(folder / "undisturbed", data, 1, None, step)
    expected = comparable(folder / "undisturbed")
    while count.hits.total() < kills and not count.faults:
        run = folder / f"{kind}-{count.searches}"
        with storages(kind) as storage:
            disturb(run, data, storage, kills, rng, every_seconds, count, step, jobs)
            if not count.faults:
                check(run, expected, shown_in_optuna(run, storage), count)
    return count


def main() -> None:
    if sys.argv[1:2] == ["search"]:
        folder, data, storage, step, jobs = sys.argv[2:]
        if os.environ.get(CLOCK):
            step_clock(os.getpid())
        searched(Path(folder), Path(data), int(jobs), storage or None, float(step))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", action="store_true", help="set every coordinator's clock again and again, too")
    parser.add_argument("--storage", choices=("sqlite", "postgresql", "both"), default="both")
    given = parser.parse_args()
    faults = 0
    if given.clock:
        os.environ[CLOCK] = "1"
    for kind in ("sqlite", "postgresql") if given.storage == "both" else (given.storage,):
        with tempfile.TemporaryDirectory(prefix="kills") as folder:
            count = campaign(Path(folder), kind, given.kills, given.seed)
        hits = ", ".join(f"{number} × {name}" for name, number in sorted(count.hits.items()))
        print(
            f"{kind}: {count.hits.total()} hits ({hits}) in {count.searches} searches of {count.trainings} trainings, "
            f"{count.seconds:.0f} s: {len(count.faults)} faults",
            *count.faults, sep="\n  ", flush=True,
        )  # fmt: skip
        faults += len(count.faults)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
