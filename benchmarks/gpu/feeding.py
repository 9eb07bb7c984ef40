"""Images a second that the input gives, without a step; beside the step's, in (b), they say what limits."""

import itertools
import time
from collections.abc import Iterator

from benchmarks.gpu.sheet import Request, Row, wait
from benchmarks.gpu.subject import input_batches

CASES = ((32, 20000, 32), (32, 20000, 128), (32, 20000, 512), (64, 20000, 128), (112, 10000, 128), (224, 3000, 256))
SECONDS = 0.4


def measure(asked: Request) -> Iterator[Row]:
    """Random images, cropped, flipped and normalised, on the device; from the host's memory and from the card's."""
    for px, count, batch in CASES[:2] if asked.tiny else CASES:
        row: Row = {"px": px, "batch": batch, "images": count}
        for resident in (False, True):
            batches = input_batches(px, min(count, 500) if asked.tiny else count, batch, asked.place, resident)
            row["from the card" if resident else "from the host"] = rate(batches, batch, asked)
        yield row


def rate(batches: Iterator[object], batch: int, asked: Request) -> float:
    """Images a second."""
    for _ in itertools.islice(batches, 5):
        pass
    wait(asked.place)
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < (0.1 if asked.tiny else SECONDS):
        for _ in itertools.islice(batches, 4):
            pass
        wait(asked.place)
        steps += 4
    return round(steps * batch / (time.perf_counter() - began))
