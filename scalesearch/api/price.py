"""What a job takes besides time: disk for its images and results, memory; refused before it begins where it does not
fit, and said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalesearch.data.dataset import Dataset
from scalesearch.data.keeping import Keeping, keep
from scalesearch.data.places import free_bytes
from scalesearch.errors import UserError
from scalesearch.machine import cores
from scalesearch.running.estimate import Timing
from scalesearch.study.row import Training
from scalesearch.training.memory import WORKER, checkpoint_bytes, least_memory
from scalesearch.units import show_bytes

PREDICTION = 20  # bytes that a ledger and a file hold of each validation image of a training


@dataclass(frozen=True)
class Price:
    """What a job takes.

    Args:
        keeping: of its images.
        results: bytes of checkpoints and results in its folder, about: if the training of each network is paused once.
        memory: bytes that a training takes at the least; ``jobs`` run at a time, None: as a cluster decides.
    """

    keeping: Keeping
    results: int
    memory: int
    jobs: int | None

    def on_time(self, timing: Timing, device: str) -> Timing:
        """A timing with the images: read at first; where they are streamed, decoded beside the training. On a CPU that
        takes from the training's time, beside a GPU only what goes beyond it."""
        image = self.keeping.seconds_per_image if self.keeping.streamed else 0.0
        batch = image * timing.batch_size
        if device != "cpu":
            points = tuple((macs, max(step, batch * timing.jobs / cores())) for macs, step in timing.points)
        else:
            points = tuple((macs, step + batch) for macs, step in timing.points)
        return replace(timing, points=points, start=timing.start + self.keeping.reading)

    def __str__(self) -> str:
        many = "each training" if self.jobs in (None, 1) else f"each of {self.jobs} trainings at a time"
        return (
            f"{self.keeping}; about {show_bytes(self.results)} for results and checkpoints; at least "
            f"{show_bytes(self.memory)} of memory for {many}"
        )


def priced(
    parts: Dataset,
    trials: Sequence[Training],
    trainings: int,
    folder: Path,
    jobs: int | None,
    room: float | None,
    used: Sequence[str] = ("train", "validation"),
    kept: int = 0,
) -> tuple[Dataset, Price]:
    """The price of a job, and its images with those kept that there is room for; writes nothing.

    Args:
        trials: a training of each network; ``trainings``: how many there will be in all.
        jobs: at a time; None: as a cluster decides.
        room: bytes that decoded images may take; half of the disk's room if None.
        used: the parts of the images that are, the last one judged on.
        kept: bytes of trained networks that stay.

    Raises:
        UserError: what does not fit on a disk.
    """
    sizes = {one.trained.resolution for one in trials}
    within, keeping = keep(parts, tuple(used), sizes, room)
    dearest = max(trials, key=lambda one: least_memory(one.trained, one.train))
    paused = sum(checkpoint_bytes(one.trained, one.train) for one in trials)
    results = paused + PREDICTION * len(parts.parts[used[-1]]) * trainings + kept
    free = free_bytes(folder)
    if results > free:
        problem = f"results and checkpoints may take {show_bytes(results)}, and {show_bytes(free)} are free there."
        raise UserError(f"--run {folder}", problem, do="Free some space, or choose another folder.")
    return within, Price(keeping, results, WORKER + least_memory(dearest.trained, dearest.train), jobs)
