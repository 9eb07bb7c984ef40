"""Times networks that take turns; and, as a program of its own, ONNX networks with ONNX Runtime.

    python run.py --threads 1 --out times.json

It then lies in a folder that ``scalesearch device probe`` wrote, beside the networks, and needs nothing but Python and
onnxruntime. What it writes becomes a latency table on another machine: ``scalesearch device measure --from-probe
times.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

Pass = Callable[[], object]
Clock = Callable[[], float]

FORMAT, WHAT = 1, "the times of a device's probe"
PLAN, TIMES = "probe.json", "times.json"
GROUP = 12  # networks that are in memory at a time and take turns, besides the reference
ROUNDS, FEWEST_ROUNDS = 15, 5
WARM_SECONDS = 0.005  # of a turn, before passes count: by then weights, code and predictions of branches are back
TURN_SECONDS, MOST_PASSES = 0.004, 6  # a turn's counted passes go on for about so long
SLOWER = 0.1  # than usual, by the reference: the group is timed again where there is time
DISTURBED, DISTURBED_SECONDS = 0.1, 0.0002  # of a turn, from which something else must have been running
LEAST_RESOLUTION = 1e-6  # seconds, of a thread's clock


def thread_clock(threads: int) -> Clock:
    """What a single thread is timed by: its own processor time, to which other programs add nothing. It is the time of
    day's where nothing else runs. Several threads wait for one another: the time of day counts."""
    exact = time.get_clock_info("thread_time").resolution < LEAST_RESOLUTION if hasattr(time, "thread_time") else False
    return time.thread_time if threads == 1 and exact else time.perf_counter


def timed(
    passes: Sequence[Pass], rounds: int, clock: Clock, wall: Clock = time.perf_counter
) -> tuple[list[list[float]], float]:
    """Seconds of each pass, a list for each of ``passes``, and the share of turns in which something else was running.

    They take turns; in each the first passes do not count. One does not do for short ones: of 0.3 ms the second pass
    after another network's takes a third longer than those that follow.
    """
    counts, warming = [], []
    for one in passes:
        one()
        one()
        began = clock()
        one()
        took = max(clock() - began, 1e-6)
        counts.append(max(1, min(MOST_PASSES, int(TURN_SECONDS / took))))
        warming.append(1 + int(WARM_SECONDS / took))
    times: list[list[float]] = [[] for _ in passes]
    disturbed = 0
    for _ in range(rounds):
        for one, warm, count, kept in zip(passes, warming, counts, times):  # noqa: B905 (boards have older Pythons)
            for _ in range(warm):
                one()
            turn = []
            started = wall()
            for _ in range(count):
                began = clock()
                one()
                turn.append(clock() - began)
            lost = wall() - started - sum(turn)
            disturbed += lost > DISTURBED * sum(turn) + DISTURBED_SECONDS
            kept.extend(turn)
    return times, disturbed / (rounds * len(passes))


def middle_and_spread(times: list[float]) -> tuple[float, float]:
    """Median in milliseconds, and the middle half of the times, its longest less its shortest, over the median."""
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return 1e3 * middle, (high - low) / middle


def measure(
    names: Sequence[str],
    load: Callable[[str], Pass],
    seconds: float,
    tell: Callable[[int, int], object],
    clock: Clock,
    now: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Times networks by groups that take turns; those in which the machine was slow, again, as long as there is time.

    How slow it was is told by the reference, which takes turns in every group; a group's times are divided by it.

    Args:
        names: of the networks; the first is the reference.
        load: makes a function that runs a pass, of a name.
        seconds: that it may take; where they are few, there are fewer rounds.
        tell: is told (done, of how many) networks.
        clock: a pass is timed by.

    Returns a dictionary: "times", of names to [milliseconds, spread]; "drift", how much slower than usual the machine
    was in the slowest group that counts; "disturbed", the share of turns in which something else was running.
    """
    reference, began = names[0], now()
    others = list(names[1:])
    random.Random(0).shuffle(others)
    groups = [others[start : start + GROUP] for start in range(0, len(others), GROUP)] or [[]]
    runs: dict[int, tuple[list[tuple[float, float]], float]] = {}
    rounds = ROUNDS

    def slowness(number: int) -> float:
        return runs[number][0][0][0]

    def run(number: int) -> None:
        passes = [load(name) for name in (reference, *groups[number])]
        times, disturbed = timed(passes, rounds, clock)
        found = [middle_and_spread(one) for one in times]
        if number not in runs or found[0][0] < slowness(number):
            runs[number] = (found, disturbed)

    for number in range(len(groups)):
        started = now()
        run(number)
        took, left = now() - started, seconds - (now() - began)
        still = len(groups) - number - 1
        if still and took * still > left:
            rounds = max(FEWEST_ROUNDS, int(rounds * max(left, 0) / (took * still)))
        tell(sum(map(len, groups[: number + 1])), len(others))
    usual = sorted(map(slowness, runs))[len(runs) // 4]
    for number in sorted(runs, key=slowness, reverse=True):
        if slowness(number) > (1 + SLOWER) * usual and now() - began < seconds:
            run(number)
    times = {reference: [usual, runs[0][0][0][1]]}
    for number, (found, _) in runs.items():
        slower = slowness(number) / usual
        members = zip(groups[number], found[1:])  # noqa: B905
        times.update({name: [middle / slower, spread] for name, (middle, spread) in members})
    return {
        "times": times,
        "drift": max(map(slowness, runs)) / usual - 1,
        "disturbed": statistics.mean(disturbed for _, disturbed in runs.values()),
    }


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for start in ("model name", "Model", "Hardware"):
        for line in lines:
            if line.startswith(start):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def conditions(threads: int, versions: dict[str, str], machine: str | None = None) -> dict[str, Any]:
    """What the times are of, besides runtime, batch size and precision."""
    return {
        "machine": machine or processor(),
        "cores": cores(),
        "system": platform.system() + " " + platform.machine(),
        "threads": threads,
        "versions": {"python": platform.python_version(), **versions},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 (boards have older Pythons)
    }


def onnx_loader(folder: str, batch_size: int, threads: int) -> Callable[[str], Pass]:
    """Makes a function that runs a pass of an ONNX network in a folder, of its name."""
    import numpy
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # of warnings, such as those of an unknown GPU, there would be many
    shared = threads > 1
    if shared:  # one pool for all networks: those of others would go on spinning
        onnxruntime.set_global_thread_pool_sizes(threads, 1)

    def load(name: str) -> Pass:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        if shared:
            settings.use_per_session_threads = False
        else:
            settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        path = os.path.join(folder, name + ".onnx")
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        images = numpy.zeros([batch_size, *given.shape[1:]], numpy.float32)
        return lambda: session.run(None, {given.name: images})

    return load


def run(folder: str, threads: int, seconds: float, tell: Callable[[int, int], object]) -> dict[str, Any]:
    """Times the networks of a folder; what is to be written."""
    import onnxruntime

    with open(os.path.join(folder, PLAN), encoding="utf-8") as file:
        plan = json.load(file)
    if plan.get("format") != FORMAT:
        sys.exit(f"{folder}: {PLAN} is not of format {FORMAT}. Use the run.py that lies beside it.")
    names = [one["name"] for one in plan["networks"]]
    load = onnx_loader(folder, plan["batch_size"], threads)
    found = measure(names, load, seconds, tell, thread_clock(threads))
    times = found.pop("times")
    return {
        "format": FORMAT,
        "what": WHAT,
        **conditions(threads, {"onnxruntime": onnxruntime.__version__}),
        "runtime": "onnxruntime",
        "batch_size": plan["batch_size"],
        "dtype": "float32",
        "spaces": plan["spaces"],
        **found,
        "networks": [{**one, "ms": times[one["name"]][0], "spread": times[one["name"]][1]} for one in plan["networks"]],
    }


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=cores(), help="threads of the runtime; all cores if left out")
    parser.add_argument("--minutes", type=float, default=5.0, help="about how long it may take (5)")
    parser.add_argument("--out", default=TIMES, help="the file to write (times.json)")
    given = parser.parse_args()
    folder = os.path.dirname(os.path.abspath(__file__))

    def tell(done: int, total: int) -> None:
        print(f"{done} of {total} networks timed", flush=True)

    times = run(folder, given.threads, 60 * given.minutes, tell)
    with open(given.out, "w", encoding="utf-8") as file:
        json.dump(times, file)
    print(f"Written: {given.out}. Take it to your workstation: scalesearch device measure --from-probe {given.out}")


if __name__ == "__main__":
    main()
