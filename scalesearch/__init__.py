"""EfficientNet's compound scaling, searched by training, on anybody's data.

Every command of the command line is a function here with the same options: ``grid``, ``verify``, ``baseline``,
``scale``, ``family``, ``finetune``, ``evaluate``, ``predict``, ``export``, ``report``, ``paper``, ``doctor``; besides
them ``searched``, ``build``, ``load_model``, ``to_torchvision``. Sizes are multiply-adds as numbers or as people write
them ("400M"), durations seconds or "30m". Functions that work long take ``tell``, which is called with a line of text
now and then: ``tell=print`` shows progress.

Importing the package imports nothing heavy: a name is fetched when it is first used. (The search is called ``grid``,
like the command: ``scalesearch.study`` and ``scalesearch.running`` are rooms.)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalesearch.api.design import Family, baseline, family, scale
    from scalesearch.api.doctor import Health, doctor
    from scalesearch.api.evaluate import EvaluationResult, Prediction, evaluate, predict
    from scalesearch.api.export import ExportResult, build, export, load_model, to_torchvision
    from scalesearch.api.finetune import FinetuneResult, finetune
    from scalesearch.api.report import PaperFigures, paper, report
    from scalesearch.api.result import SearchResult, searched
    from scalesearch.api.search import grid
    from scalesearch.api.verify import verify
    from scalesearch.design.scaling import PAPER, Coefficients
    from scalesearch.design.space import load_space
    from scalesearch.design.spec import NetSpec
    from scalesearch.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "PAPER",
    "Coefficients",
    "EvaluationResult",
    "ExportResult",
    "Family",
    "FinetuneResult",
    "Health",
    "NetSpec",
    "PaperFigures",
    "Prediction",
    "SearchResult",
    "UserError",
    "baseline",
    "build",
    "doctor",
    "evaluate",
    "export",
    "family",
    "finetune",
    "grid",
    "load_model",
    "load_space",
    "paper",
    "predict",
    "report",
    "scale",
    "searched",
    "to_torchvision",
    "verify",
]

_ROOMS = {
    "api.design": ("Family", "baseline", "family", "scale"),
    "api.doctor": ("Health", "doctor"),
    "api.evaluate": ("EvaluationResult", "Prediction", "evaluate", "predict"),
    "api.export": ("ExportResult", "build", "export", "load_model", "to_torchvision"),
    "api.finetune": ("FinetuneResult", "finetune"),
    "api.report": ("PaperFigures", "paper", "report"),
    "api.result": ("SearchResult", "searched"),
    "api.search": ("grid",),
    "api.verify": ("verify",),
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
