"""EfficientNet's compound scaling, searched by training, on anybody's data.

What the command line does is a handful of functions here: ``grid``, ``searched``, ``baseline``, ``scale``, ``family``,
``build``, ``finetune``, ``evaluate``, ``predict``, ``load_model``, ``to_torchvision``. Importing the package imports
nothing heavy: a name is fetched when it is first used. (The search is called ``grid``, like the command:
``scalesearch.study`` and ``scalesearch.running`` are rooms.)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalesearch.api.family import Family
    from scalesearch.api.functions import (
        baseline,
        build,
        evaluate,
        family,
        finetune,
        grid,
        load_model,
        predict,
        scale,
        searched,
        to_torchvision,
    )
    from scalesearch.api.result import SearchResult
    from scalesearch.api.tuning import FineTuned
    from scalesearch.api.using import Judged, Named
    from scalesearch.design.scaling import PAPER, Coefficients
    from scalesearch.design.space import load_space
    from scalesearch.design.spec import NetSpec
    from scalesearch.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "PAPER",
    "Coefficients",
    "Family",
    "FineTuned",
    "Judged",
    "Named",
    "NetSpec",
    "SearchResult",
    "UserError",
    "baseline",
    "build",
    "evaluate",
    "family",
    "finetune",
    "grid",
    "load_model",
    "load_space",
    "predict",
    "scale",
    "searched",
    "to_torchvision",
]

_ROOMS = {
    "api.functions": (
        "baseline", "build", "evaluate", "family", "finetune", "grid", "load_model", "predict", "scale", "searched",
        "to_torchvision",
    ),
    "api.family": ("Family",),
    "api.result": ("SearchResult",),
    "api.tuning": ("FineTuned",),
    "api.using": ("Judged", "Named"),
    "design.scaling": ("PAPER", "Coefficients"),
    "design.space": ("load_space",),
    "design.spec": ("NetSpec",),
    "errors": ("UserError",),
}  # fmt: skip


def __getattr__(name: str) -> object:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
