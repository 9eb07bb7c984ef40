"""A step that does not fit into memory is tried again in smaller parts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from scalesearch.errors import UserError

SMALLEST_PART = 2  # images: batch norm needs two values
CPU_MESSAGE = "can't allocate memory"  # of torch's CPU allocator, which raises a plain RuntimeError


class TooLittleMemory(UserError):  # noqa: N818 (says what happened)
    """Not even the smallest part of a step fits."""


@dataclass
class Parts:
    """How many parts a step's images are split into: what was asked for, more after memory ran out.

    Args:
        count: at present.
        most: beyond which memory's running out is an error: 0 allows no more than ``count``.
        say: is told of each change.
    """

    count: int
    most: int
    say: Callable[[str], None] | None = None

    def affordable(self, step: Callable[[int], torch.Tensor], batch_size: int) -> torch.Tensor:
        """``step(parts)``, with twice the parts as often as memory runs out.

        Raises TooLittleMemory where even the smallest parts do not fit.
        """
        while True:
            try:
                return step(self.count)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not is_out_of_memory(error):
                    raise
                if self.count * 2 > self.most:
                    raise too_little(batch_size, self.count) from error
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.count *= 2
            if self.say:
                self.say(
                    f"Memory ran out: each step's {batch_size} images now go through in {self.count} parts, which batch"
                    f" norm sees one by one. --accumulate {self.count} asks for this from the start."
                )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or CPU_MESSAGE in str(error)


def too_little(batch_size: int, parts: int) -> TooLittleMemory:
    """The error where no way is left."""
    split = f" in {parts} parts" if parts > 1 else ""
    return TooLittleMemory(
        "memory", f"too little for a step of batch_size {batch_size}{split}", "memory for one training step",
        "Lower batch_size or the resolution, raise accumulate, set recompute, or use precision bf16.",
    )  # fmt: skip
