"""What a trial really trains: the candidate made affordable, by rules that anybody can read off the table."""

from dataclasses import dataclass, replace

from scalesearch.design.cost import cost
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError

SMALLEST_RESOLUTION = 16
CPU_MACS = 12_000_000  # what two cores train at some hundred images a second
GPU_MACS = 1_000_000_000
CPU_IMAGES = 4000


@dataclass(frozen=True)
class Proxy:
    """Accuracy comes from the candidate at ``resolution / resolution_divisor``, trained for ``epochs`` on at most
    ``images`` training images. The FLOPs in the score are the full-size network's."""

    resolution_divisor: float
    epochs: int
    images: int

    def spec(self, spec: NetSpec) -> NetSpec:
        """The network as trained: same channels and blocks, smaller images."""
        return replace(spec, resolution=max(1, round(spec.resolution / self.resolution_divisor)))

    def describe(self, baseline: NetSpec) -> str:
        """One line for tables and figures."""
        size = self.spec(baseline).resolution
        scale = f"at 1/{self.resolution_divisor:g} resolution" if self.resolution_divisor > 1 else "at full resolution"
        return f"{scale} (baseline {size} px), {self.epochs} epochs, {self.images} training images"


def choose_proxy(
    baseline: NetSpec,
    available: int,
    gpu: bool,
    divisor: float | None = None,
    epochs: int | None = None,
    images: int | None = None,
) -> Proxy:
    """The proxy for a search; what is None is chosen by a rule that depends on the inputs alone, never on timing.

    The divisor is the smallest whole number that brings the baseline to 12M multiply-adds or fewer on a CPU (1G on a
    GPU), but never below 16 pixels; at most 4000 training images and 18 epochs on a CPU.

    Args:
        available: training images there are.
        gpu: whether trials run on one.

    Raises:
        UserError: a divisor below 1, or one that leaves less than 8 pixels.
    """
    if divisor is None:
        limit = GPU_MACS if gpu else CPU_MACS
        divisor = 1.0
        while (
            cost(Proxy(divisor, 1, 1).spec(baseline)).macs > limit
            and round(baseline.resolution / (divisor + 1)) >= SMALLEST_RESOLUTION
        ):
            divisor += 1
    if not 1 <= divisor <= baseline.resolution / 8:
        raise UserError("--proxy-divisor", f"{divisor:g} is not between 1 and {baseline.resolution / 8:g}.")
    chosen_images = images or (available if gpu else min(available, CPU_IMAGES))
    return Proxy(float(divisor), epochs or (20 if gpu else 18), min(chosen_images, available))
