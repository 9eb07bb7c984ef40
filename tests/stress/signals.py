"""Commands that are told to end, or are killed, at random moments.

    python -m tests.stress.signals --interrupts 40 --kills 5 --seed 0

SIGTERM and Ctrl-C at any moment of a search, from the start of the process to its end, lead to one sentence, and the
search comes to what an undisturbed one does. Commands that write files are killed (SIGKILL) at random moments and then
run again: old files stay whole, and in the end everything is as if nothing had happened. A training whose every process
is killed after a few seconds comes to its end.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.stress import commands
from tests.stress.faults import Site, site
from tests.stress.kills import ROOT

ENTRY_SECONDS = 0.5  # what Python takes to come to us, on a busy machine: a signal before is its own matter
SENTENCE = "interrupted; what is done is kept, the same command continues"
LIVES = 60


@dataclass
class Campaign:
    """What was done, how it ended, and what is wrong."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def interrupts(place: Site, count: int, rng: random.Random) -> Campaign:
    """A search told to end at random moments: a new one every few times, gone on with in between."""
    done, began = Campaign(), time.monotonic()
    assert place.run(place.folder / "whole").code == 0
    whole_seconds = time.monotonic() - began
    for number in range(count):
        run = place.folder / f"interrupted{number // 4}"
        what, moment = rng.choice((signal.SIGTERM, signal.SIGINT)), rng.uniform(0, whole_seconds)
        process = place.start(run, start_new_session=True)
        time.sleep(moment)
        process.send_signal(what)
        out, err = process.communicate(timeout=300)
        done.ends[f"{what.name}, exit {process.returncode}"] += 1
        told = [line for line in err.splitlines() if line]
        fine = process.returncode == 0 or (process.returncode == 130 and told == [SENTENCE])
        early = moment < ENTRY_SECONDS and process.returncode in (-what, 1, 130)
        if ("Traceback" in out + err and not early) or not (fine or early):
            done.faults.append(f"{what.name} after {moment:.2f} s: exit {process.returncode}, {err[-600:]}")
        if number % 4 == 3 and (wrong := place.mended(run)):
            done.faults.append(f"{run.name}: {wrong}")
    return done


def start(folder: Path, arguments: tuple[str, ...]) -> "subprocess.Popen[str]":
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "scalesearch", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCALESEARCH_CACHE": str(folder / "cache")},
    )  # fmt: skip


def kills(folder: Path, count: int, rng: random.Random) -> Campaign:
    """Each command that writes is killed ``count`` times, and then run to its end."""
    done, place = Campaign(), commands.prepare(folder / "site")
    for name, writer in commands.WRITERS.items():
        began = time.monotonic()
        process = start(place, writer.arguments)
        process.communicate(timeout=300)
        seconds, whole = time.monotonic() - began, commands.contents(place, writer)
        for _ in range(count):
            old = commands.put_old(place, name, whole)
            process = start(place, writer.arguments)
            time.sleep(seconds * rng.uniform(0.4, 1.0))  # most of the time goes into imports
            process.kill()
            process.communicate()
            done.ends[name] += 1
            now = commands.contents(place, writer)
            torn = sorted(file for file, content in now.items()
                          if "unfinished" not in file and content not in (old.get(file), whole.get(file)))  # fmt: skip
            if torn or (name not in commands.FRESH and old.keys() - now.keys()):
                done.faults.append(f"{name}: {', '.join(torn) or 'old files are gone'} after a kill")
            if name in commands.FRESH and now.keys() - {"page.html", "who.csv"} and "unfinished" not in str(now):
                commands.forget(place, writer)  # it was done, and nothing is written over
            process = start(place, writer.arguments)
            _, err = process.communicate(timeout=300)
            if process.returncode != 0 or commands.contents(place, writer) != whole:
                done.faults.append(f"{name}: run again after a kill: {err[-400:] or 'other files'}")
            if left := commands.leftovers(place):
                done.faults.append(f"{name}: left {left}")
    return done


def short_lives(folder: Path, seconds: float) -> Campaign:
    """A training of which every process is killed after so many seconds; it must end, and as an undisturbed one."""
    done, place = Campaign(), commands.prepare(folder / "lives")
    training = (
        "finetune", "--model", "efficientnet_b0", "--data", "images", "--epochs", "2", "--batch-size", "2",
        "--resolution", "128", "--device", "cpu", "--out",
    )  # fmt: skip
    process, began = start(place, (*training, "whole")), time.monotonic()
    assert process.wait(600) == 0
    done.ends["seconds of the undisturbed"] = round(time.monotonic() - began)
    for life in range(1, LIVES + 1):
        process = start(place, (*training, "tuned"))
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            continue
        done.ends["lives"] = life
        break
    else:
        done.faults.append(f"a training killed every {seconds:g} s has not ended after {LIVES} lives")
        return done
    names = ("model.safetensors", "metrics.json")
    (model, metrics), (same, expected) = (
        [(place / run / name).read_bytes() for name in names] for run in ("tuned", "whole")
    )
    if commands.said(model) != commands.said(same) or losses(metrics) != losses(expected):
        done.faults.append("it ends in other numbers than an undisturbed one")
    return done


def losses(metrics: bytes) -> list[float]:
    """Of a training's epochs."""
    return [epoch["train_loss"] for epoch in json.loads(metrics)["history"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interrupts", type=int, default=40)
    parser.add_argument("--kills", type=int, default=5, help="of each command that writes")
    parser.add_argument("--life", type=float, default=15.0, help="seconds of a training's process; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory(prefix="signals") as scratch:
        folder, rng = Path(scratch), random.Random(given.seed)
        campaigns: dict[str, tuple[float, Callable[[], Campaign]]] = {
            "interrupts": (given.interrupts, lambda: interrupts(site(folder / "search"), given.interrupts, rng)),
            "kills": (given.kills, lambda: kills(folder, given.kills, rng)),
            "short lives": (given.life, lambda: short_lives(folder, given.life)),
        }
        for name, (wanted, run) in campaigns.items():
            if not wanted:
                continue
            began, done = time.monotonic(), run()
            faults += len(done.faults)
            counts = ", ".join(f"{what}: {number}" for what, number in sorted(done.ends.items()))
            told = f"{name}: {counts}; {time.monotonic() - began:.0f} s; {len(done.faults)} faults"
            print(told, *done.faults, sep="\n  ", flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
