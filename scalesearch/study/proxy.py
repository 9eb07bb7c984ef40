"""What a search really trains: the baseline made affordable, by rules that anybody can read off the table."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from scalesearch.design.cost import cost
from scalesearch.design.scaling import NEAR_ENOUGH, PAPER, Coefficients, Multipliers, meet
from scalesearch.design.spec import NetSpec
from scalesearch.units import show_count

CPU_MACS = 6_000_000  # what two cores train at some hundred images a second
GPU_MACS = 1_000_000_000
CPU_IMAGES = 3200
CPU_EPOCHS, GPU_EPOCHS = 10, 20
CPU_SEEN, GPU_SEEN = 32_000, 128_000  # images seen by a training, at least: 1000 steps of the usual batches
MOST_EPOCHS = 100
REGULARISATION = 0.3 / 7  # of dropout and drop-path for a doubling: B0 was released with 0.2, B7 with 0.5
Shrinking = Literal["family", "full-depth", "resolution"]
SHRINKING: dict[Shrinking, Coefficients] = {  # along which a baseline is made smaller
    "family": Multipliers(PAPER.alpha, PAPER.beta, PAPER.gamma).coefficients(),
    "full-depth": Multipliers(1, PAPER.beta, PAPER.gamma).coefficients(),
    "resolution": Multipliers(1, 1, PAPER.gamma).coefficients(),
}


@dataclass(frozen=True)
class Proxy:
    """Accuracy comes from candidates made around ``baseline``, φ = 0 as it is trained, each at twice *its* cost.

    Args:
        baseline: the full-size one itself where that is affordable.
        epochs: of a full training.
        images: training images, at most.
    """

    baseline: NetSpec
    epochs: int
    images: int

    def describe(self, baseline: NetSpec) -> str:
        """One line for tables and figures."""
        size = f"{show_count(cost(self.baseline).macs)} multiply-adds at {self.baseline.resolution} px"
        what = "at full size" if self.baseline == baseline else "as a smaller proxy"
        return f"{what} (baseline {size}), {self.epochs} epochs, {self.images} training images"


def choose_proxy(
    baseline: NetSpec,
    available: int,
    gpu: bool,
    macs: float | None = None,
    shrinking: Shrinking = "family",
    epochs: int | None = None,
    images: int | None = None,
) -> Proxy:
    """The proxy for a search; what is None is chosen by a rule that depends on the inputs alone, never on timing.

    A baseline of more than 6M multiply-adds on a CPU (1G on a GPU) is made smaller as its own family's member at φ < 0;
    at most 3200 training images on a CPU. Dropout and drop-path shrink with it (``REGULARISATION``). Epochs are 10 on a
    CPU and 20 on a GPU, and up to 100 where images are few, since what counts is the number of steps.

    Args:
        available: training images there are.
        gpu: whether trials run on one.
        macs: multiply-adds that the baseline is brought to, as nearly as it can be, if it has more.
        shrinking: "family" makes depth, width and resolution smaller, "full-depth" leaves the blocks, "resolution"
            leaves everything but the pixels.

    Raises:
        UserError: a size that the baseline cannot be brought to.
    """
    limit = macs if macs is not None else GPU_MACS if gpu else CPU_MACS
    trained = baseline if cost(baseline).macs <= limit else _smaller(baseline, limit, shrinking, macs is not None)
    chosen_images = images or (available if gpu else min(available, CPU_IMAGES))
    chosen_images = min(chosen_images, available)
    usual, seen = (GPU_EPOCHS, GPU_SEEN) if gpu else (CPU_EPOCHS, CPU_SEEN)
    return Proxy(trained, epochs or max(usual, min(MOST_EPOCHS, math.ceil(seen / chosen_images))), chosen_images)


def _smaller(baseline: NetSpec, limit: float, shrinking: Shrinking, exact: bool) -> NetSpec:
    """The member at φ < 0; the smallest one where a space's fixed parts leave none of that size, unless it is asked."""
    near = NEAR_ENOUGH if exact else math.inf
    small = meet(baseline, SHRINKING[shrinking], limit, "budget", "--proxy-flops", near).spec
    less = REGULARISATION * math.log2(cost(baseline).macs / cost(small).macs)
    return replace(small, dropout=max(0.0, baseline.dropout - less), drop_path=max(0.0, baseline.drop_path - less))
