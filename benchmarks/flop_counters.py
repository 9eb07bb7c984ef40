"""What different counters say of one network, EfficientNet-B0 at 224 px (docs/flops.md).

pip install ptflops thop        # optional: left out where missing
python benchmarks/flop_counters.py
"""

import importlib
import logging
import warnings
from collections.abc import Callable

import timm
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

from scalesearch.design.cost import cost
from scalesearch.design.space import load_space
from scalesearch.nets.measure import fvcore_count

IMAGE = torch.zeros(1, 3, 224, 224)


def fvcore_total(network: nn.Module) -> int:
    """fvcore's ``.total()``."""
    return int(FlopCountAnalysis(network, IMAGE).total())


def torch_counter() -> int:
    """torch's own counter, which counts a multiply-add as two."""
    with FlopCounterMode(display=False) as counter:
        efficientnet_b0().eval()(IMAGE)
    return counter.get_total_flops()


def ptflops(backend: str) -> int:
    """ptflops with one of its backends."""
    count = importlib.import_module("ptflops").get_model_complexity_info
    shape = (3, 224, 224)
    return int(count(efficientnet_b0().eval(), shape, False, False, backend=backend)[0])


def thop() -> int:
    """thop."""
    return int(importlib.import_module("thop").profile(efficientnet_b0().eval(), (IMAGE,), verbose=False)[0])


COUNTERS: dict[str, Callable[[], float]] = {
    "scalesearch, closed form": lambda: cost(load_space("efficientnet_b0").baseline).macs,
    "fvcore, convolution and linear": lambda: fvcore_count(load_space("efficientnet_b0").baseline).macs,
    "ptflops, aten": lambda: ptflops("aten"),
    "torchvision's _ops": lambda: EfficientNet_B0_Weights.DEFAULT.meta["_ops"] * 1e9,
    "timm's network, fvcore .total()": lambda: fvcore_total(timm.create_model("efficientnet_b0").eval()),
    "fvcore .total(), eval": lambda: fvcore_total(efficientnet_b0().eval()),
    "ptflops, pytorch": lambda: ptflops("pytorch"),
    "thop": thop,
    "fvcore .total(), train": lambda: fvcore_total(efficientnet_b0().train()),
    "torch FlopCounterMode": torch_counter,
}


def main() -> None:
    """Prints a table."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for name, count in COUNTERS.items():
        try:
            print(f"{name:34}{count():>15,.0f}")
        except ImportError as error:
            print(f"{name:34}{'not installed: ' + str(error.name):>15}")


if __name__ == "__main__":
    main()
