"""Mutated files fed to the functions that commands read files with: each ends in success or in one clear error.

    python -m tests.stress.fuzz --inputs 12000 --seed 0

An input is named by seed, target and number. Batches run in a child process with a limit on memory; an alarm ends an
input that takes too long, and where none rings (a call of C) or the child dies, the parent knows the input from the
number that the child noted before it began. Bytes of inputs with a finding are kept.
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.stress.targets import PLANTED, TARGETS, Feed, Target

SECONDS = float(os.environ.get("SCALESEARCH_FUZZ_SECONDS", "10"))  # for one input
SILENT_SECONDS = 25.0  # without a note from the child: it hangs where no alarm rings
START_SECONDS = 120.0  # for imports
MEMORY = 1536 << 20  # bytes beyond what the child holds when it begins
LONGEST_MESSAGE = 4000  # characters
ROOT = Path(__file__).parents[2]


class TooLongError(BaseException):
    """The alarm; not caught by ``except Exception``."""


@dataclass(frozen=True)
class Finding:
    """One input that ended otherwise than it may; ``what`` says how."""

    target: str
    number: int
    what: str


@dataclass
class Tally:
    """What became of a target's inputs; ``peak`` bytes beyond the start."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    peak: int = 0
    findings: list[Finding] = field(default_factory=list)


def ledgers() -> Mapping[str, Target]:
    """Imported where they are asked for, as are ``meanings``: children of other targets need no torch."""
    from tests.stress.ledger import LEDGER

    return LEDGER


def meanings() -> Mapping[str, Target]:
    from tests.stress.meaning import MEANING

    return MEANING


def content(targets: Mapping[str, Target], name: str, originals: list[bytes], seed: int, number: int) -> bytes:
    """The bytes of an input: a function of seed, target and number alone."""
    return targets[name].mutation(random.Random(f"{seed} {name} {number}"), originals)


def accepting(target: Target, folder: Path) -> tuple[Sequence[bytes], Feed, Path]:
    """A target's originals, what reads them, and the file that it reads: it holds the first, which is accepted."""
    places = [folder / name for name in ("made", "work")]
    for place in places:
        place.mkdir()
    originals, feed, path = target.originals(places[0]), target.feeder(places[1]), folder / f"input{target.suffix}"
    path.write_bytes(originals[0])
    assert judge(feed, path, 0) == ("accepted", "")
    return originals, feed, path


def judge(feed: Feed, path: Path, seconds: float = SECONDS) -> tuple[str, str]:
    """("accepted", ""), ("refused", message) or ("finding", what happened); ``seconds`` 0: no alarm."""
    from scalesearch.data.source import UnreadableImageError
    from scalesearch.errors import UserError

    if seconds:
        _alarm(seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            feed(path)
    except (UserError, UnreadableImageError) as error:
        return _judged(error)
    except TooLongError:
        return "finding", f"more than {seconds:g} s"
    except MemoryError:
        return "finding", "MemoryError"
    except BaseException:
        return "finding", traceback.format_exc(limit=-4)
    finally:
        if seconds:
            _alarm(0)
    return "accepted", ""


def _alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _judged(error: Exception) -> tuple[str, str]:
    """A refusal must say something, briefly, in printable characters, and not be out of memory in disguise. (pyarrow
    asks the system for what a damaged length says, without touching it, which nobody can bound from outside.)"""
    message = str(error)
    causes = []
    one: BaseException | None = error
    while one is not None and one not in causes:
        causes.append(one)
        one = one.__cause__ or one.__context__
    if any(isinstance(cause, MemoryError) and not type(cause).__module__.startswith("pyarrow") for cause in causes):
        return "finding", f"out of memory: {message[:300]!r}"
    if not message or len(message) > LONGEST_MESSAGE:
        return "finding", f"a message of {len(message)} characters: {message[:300]!r}"
    if any(not (character.isprintable() or character == "\n") for character in message):
        return "finding", f"a message with control characters: {message[:300]!r}"
    return "refused", message


def child(name: str, first: int, last: int, seed: int, folder: Path) -> None:
    """Feeds inputs ``first`` to ``last - 1``: a line of JSON each in ``results``, its number before in ``progress``."""
    sys.setrecursionlimit(1000)
    targets = PLANTED if name in PLANTED else TARGETS if name in TARGETS else {**ledgers(), **meanings()}
    target = targets[name]
    originals = [path.read_bytes() for path in sorted((folder / "originals").iterdir())]
    work = Path(tempfile.mkdtemp(dir=folder))
    feed = target.feeder(work)
    signal.signal(signal.SIGALRM, _ring)
    path = folder / f"input{target.suffix}"
    path.write_bytes(originals[0])
    for _ in range(0 if name in PLANTED else 2):  # imports and pools count as the start
        kind, message = judge(feed, path, START_SECONDS)
        if kind != "accepted":
            raise RuntimeError(f"{name}: the original is not accepted: {message}")
    start = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (start + MEMORY, start + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with (folder / "results").open("a") as results, (folder / "progress").open("w") as progress:
        for number in range(first, last):
            path.write_bytes(content(targets, name, originals, seed, number))
            progress.seek(0)
            progress.write(f"{number:9d}")
            progress.flush()
            before = _fresh_peak()
            kind, message = judge(feed, path)
            peak = max(0, _status("VmHWM") - before)
            results.write(json.dumps([number, kind, message, peak]) + "\n")
            results.flush()


def _ring(signum: int, frame: FrameType | None) -> None:
    raise TooLongError


def _status(key: str) -> int:
    """Bytes, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    return 0


def _fresh_peak() -> int:
    """Starts the peak anew; the memory held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not allowed everywhere: then the peak is of the whole batch
        return _status("VmHWM")
    return _status("VmRSS")


def run_target(name: str, target: Target, count: int, seed: int, folder: Path) -> Tally:
    """Inputs 0 to ``count - 1`` of one target, in as many children as it takes."""
    tally, began = Tally(), time.monotonic()
    (folder / "originals").mkdir(parents=True)
    made = target.originals(_made(folder / "made"))
    for number, original in enumerate(made):
        (folder / "originals" / f"{number:03d}").write_bytes(original)
    first = 0
    while first < count:
        died = _run_child(name, first, count, seed, folder)
        first = _collect(name, folder, tally)
        if died:
            tally.inputs += 1
            tally.findings.append(Finding(name, first, died))
            first += 1
    tally.seconds = time.monotonic() - began
    return tally


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _run_child(name: str, first: int, last: int, seed: int, folder: Path) -> str:
    """Runs a child to its end; empty, or how it died."""
    (folder / "progress").unlink(missing_ok=True)
    (folder / "results").write_text("")
    command = [
        sys.executable,
        "-m",
        "tests.stress.fuzz",
        "--child",
        name,
        str(first),
        str(last),
        str(seed),
        str(folder),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "2"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        noted, since = "", time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            now = _read(folder / "progress")
            if now != noted:
                noted, since = now, time.monotonic()
            elif time.monotonic() - since > (SILENT_SECONDS if noted else START_SECONDS):
                process.kill()
                process.wait()
                return f"no sign of life for {SILENT_SECONDS:g} s"
    if process.returncode == 0:
        return ""
    if not noted:
        raise RuntimeError(f"{name}: the child did not start: {_read(folder / 'log')[-2000:]}")
    return f"the process died ({process.returncode}): {_read(folder / 'log')[-300:]}"


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _collect(name: str, folder: Path, tally: Tally) -> int:
    """Adds a child's results; the first number without one."""
    following = int(_read(folder / "progress") or 0)
    for line in _read(folder / "results").splitlines():
        number, kind, message, peak = json.loads(line)
        tally.inputs += 1
        tally.accepted += kind == "accepted"
        tally.refused += kind == "refused"
        tally.peak = max(tally.peak, peak)
        if kind == "finding":
            tally.findings.append(Finding(name, number, message))
        following = number + 1
    return following


def counts(inputs: int, targets: Mapping[str, Target]) -> Iterator[tuple[str, int]]:
    """How many inputs each target gets, by its share; ``inputs`` or a few more in all."""
    shares = sum(target.share for target in targets.values())
    for name, target in targets.items():
        yield name, -int(-inputs * target.share // shares)


def campaign(inputs: int, seed: int, targets: Mapping[str, Target], kept: Path | None = None) -> dict[str, Tally]:
    """Every target; culprits' bytes go to ``kept``."""
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        for place, (name, count) in enumerate(counts(inputs, targets)):
            folder = Path(scratch) / str(place)
            tally = tallies[name] = run_target(name, targets[name], count, seed, folder)
            print(_line(name, tally), flush=True)
            originals = [path.read_bytes() for path in sorted((folder / "originals").iterdir())]
            for finding in tally.findings:
                told = finding.what.strip()[-LONGEST_MESSAGE:]
                print(f"  FINDING seed {seed}, input {finding.number}: {told}", flush=True)
                if kept is not None:
                    kept.mkdir(parents=True, exist_ok=True)
                    file = kept / f"{zlib.crc32(name.encode()):08x}-seed{seed}-{finding.number}{targets[name].suffix}"
                    file.write_bytes(content(targets, name, originals, seed, finding.number))
                    print(f"  kept as {file}", flush=True)
    return tallies


def _line(name: str, tally: Tally) -> str:
    return (
        f"{name:22s} {tally.inputs:7d} {tally.accepted:9d} {tally.refused:8d} {len(tally.findings):9d} "
        f"{tally.seconds:8.0f} {tally.peak / 1e6:8.0f}"
    )


def main() -> None:
    """The command; exits with 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="targets whose names contain this")
    parser.add_argument("--meaning", action="store_true", help="files that are well-formed and wrong, instead")
    parser.add_argument("--planted", action="store_true", help="defects that must be found, instead")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder for culprits")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        name, first, last, seed, folder = asked.child
        child(name, int(first), int(last), int(seed), Path(folder))
        return
    chosen = PLANTED if asked.planted else meanings() if asked.meaning else {**TARGETS, **ledgers()}
    targets = {name: target for name, target in chosen.items() if not asked.only or asked.only in name}
    print(f"{'target':22s}  inputs  accepted  refused  findings  seconds  peak MB")
    tallies = campaign(asked.inputs, asked.seed, targets, asked.keep)
    total = Tally(
        sum(t.inputs for t in tallies.values()), sum(t.accepted for t in tallies.values()),
        sum(t.refused for t in tallies.values()), sum(t.seconds for t in tallies.values()),
        max(t.peak for t in tallies.values()), [finding for t in tallies.values() for finding in t.findings],
    )  # fmt: skip
    print(_line("all", total))
    sys.exit(1 if total.findings else 0)


if __name__ == "__main__":
    main()
