"""What an option is, said once: its help, bounds, unit and panel, in the annotation of a dataclass's field.

The Typer command (``cli.commands``) and the Python function (``takes``) are both made from such a dataclass, so an
option cannot exist in one of them alone. Imports neither typer nor torch.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from scalesearch.errors import UserError
from scalesearch.units import parse_duration, parse_flops

Panel = Literal[  # of the help of a command, where an option stands
    "", "Network", "Data", "Training", "What is trained", "Scaling", "Grid", "Race and training", "Memory and speed",
    "Workers and machines", "Members", "Strangers", "Run and output",
]  # fmt: skip
Unit = Literal["flops", "seconds"]  # read by ``macs`` and ``seconds``
Shell = Literal["spaces", "models", "data", "weights", "runs"]  # what a shell may complete it by
Tell = Callable[[str], None]  # is told a line of text now and then
Reading = Callable[[int, int], None]  # is told (done, total) while images are read
P = ParamSpec("P")
O = TypeVar("O")  # noqa: E741
R = TypeVar("R")


@dataclass(frozen=True)
class Option:
    """How a field of an options dataclass is asked for.

    Args:
        help: what it does and what is chosen where it is left out, as one or two sentences.
        panel: of the help that it stands in.
        minimum, maximum: of a number, both allowed.
        unit: of a field that takes a number or text with its unit ("400M", "30m").
        argument: stands without a name on the command line.
        short: a letter, such as "j".
        negative: of a truth value that can also be switched off: "--no-crop" and the like.
        shell: what a shell completes it by.
        variable: an environment variable that gives it where the command line does not.
    """

    help: str
    panel: Panel = ""
    minimum: float | None = None
    maximum: float | None = None
    unit: Unit | None = None
    argument: bool = False
    short: str = ""
    negative: bool = False
    shell: Shell | None = None
    variable: str = ""


@dataclass(frozen=True)
class NoOptions:
    """Of a command that has none."""


@dataclass(frozen=True)
class Field:
    """A field of an options dataclass with its option; ``kind`` is its type without the annotation, ``default`` is
    ``inspect.Parameter.empty`` where it must be given."""

    name: str
    kind: Any
    default: Any
    option: Option


def options_of(kind: type) -> tuple[Field, ...]:
    """The options that a dataclass declares, in order; fields without an ``Option`` are for Python alone."""
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    declared = []
    for field in fields(kind):
        if get_origin(hints[field.name]) is Annotated:
            plain, *extras = get_args(hints[field.name])
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            declared += [Field(field.name, plain, default, extra) for extra in extras if isinstance(extra, Option)]
    return tuple(declared)


def takes(options: Callable[P, O]) -> Callable[[Callable[[O], R]], Callable[P, R]]:
    """Makes a function of an options dataclass one of its fields: ``f(Options(data="x"))`` becomes ``f(data="x")``.

    Type checkers see the dataclass's fields as parameters; ``help`` lists them with their help.
    """
    assert isinstance(options, type)

    def decorated(work: Callable[[O], R]) -> Callable[P, R]:
        @functools.wraps(work)
        def function(*args: P.args, **kwargs: P.kwargs) -> R:
            return work(options(*args, **kwargs))

        declared = {field.name: field for field in options_of(options)}
        parameters = [
            one.replace(annotation=declared[name].kind) if name in declared else one
            for name, one in inspect.signature(options).parameters.items()
        ]
        result = work.__annotations__["return"]
        signature = inspect.Signature(parameters, return_annotation=result)
        about, separator, raises = inspect.cleandoc(work.__doc__ or "").partition("\n\nRaises:")
        lines = "\n".join(f"    {field.name}: {field.option.help}" for field in declared.values())
        described = f"{about}\n\nArgs:\n{lines}{separator}{raises}"
        annotations = {**{one.name: one.annotation for one in parameters}, "return": result}
        vars(function)["__signature__"] = signature
        function.__doc__, function.__annotations__ = described, annotations
        return function

    return decorated


def macs(value: float | str | None, option: str) -> float | None:
    """Multiply-adds of a number or of text such as "400M". Raises UserError naming ``option``."""
    return parse_flops(value, option) if isinstance(value, str) else value


def seconds(value: float | str | None, option: str, example: str = "90s, 30m or 2h") -> float | None:
    """Seconds of a number or of text such as "30m" or "20ms". Raises UserError naming ``option``."""
    return parse_duration(value, option, f"a duration such as {example}") if isinstance(value, str) else value


def path(value: Path | str | None) -> Path | None:
    """A path, where one was given."""
    return None if value is None else Path(value)


def table_file(value: Path | str | None) -> Path | None:
    """The file that ``--out`` names for a table. Raises UserError for other endings than .csv and .json."""
    if value is not None and Path(value).suffix not in (".csv", ".json"):
        raise UserError("--out", f"{value} ends neither in .csv nor in .json.")
    return path(value)


def inherited(weights: Path | str | None) -> str | None:
    """What ``--weights`` names; None where nothing is inherited: left out, or "scratch"."""
    return None if weights is None or str(weights) == "scratch" else str(weights)


# Options that several commands share.
# fmt: off
Data = Annotated[str | Path | None, Option(
    "Images: a folder, the name of a torchvision set, or glyphs; those of the search or of the model if left out.",
    "Data", shell="data")]
Device = Annotated[str, Option(
    "Where to compute: auto (the first GPU, else the CPU), cpu, cuda or cuda:1.", "Memory and speed")]
SkipBroken = Annotated[bool, Option("Leave out images that cannot be read, instead of stopping at them.", "Data")]
Weights = Annotated[str | Path | None, Option(
    "Weights to inherit, whatever their width and depth: imagenet (the nearest that torchvision has, downloaded), a "
    "network of torchvision's, a file, or a folder of files; new ones (scratch) if left out.", "Network",
    shell="weights")]
SourcePadding = Annotated[Literal["symmetric", "same"] | None, Option(
    "How the network that the weights are from pads its images, such as same for weights from TensorFlow; as the "
    "weights say if left out.", "Network")]
Scheme = Literal["auto", "head", "tail", "full", "gradual"]  # a strategy, or auto: chosen
Patience = Annotated[int, Option(
    "Stop after so many epochs without a better one, and keep the best; 0 trains to the end.", "Training", minimum=0)]
Ema = Annotated[float, Option(
    "Decay of the moving average of the weights, such as 0.99; 0 takes no average.", "Training")]
TableFile = Annotated[Path | str | None, Option("A .csv or .json file to write; a table is printed if left out.")]
Run = Annotated[Path | str | None, Option(
    "Folder of the search; the newest under runs/ if left out.", "Run and output", shell="runs")]
TimeBudget = Annotated[float | str | None, Option(
    "Time that this call may take, such as 30m or 2h; no limit if left out. What a search's race leaves of it goes to "
    "undecided candidates.", "Memory and speed", unit="seconds")]
Jobs = Annotated[int | None, Option(
    "Trainings at a time; if left out as many as there are cores, one on a GPU, or as many as the Ray cluster takes.",
    "Memory and speed", minimum=1, short="j")]
Executor = Annotated[Literal["processes", "ray"], Option(
    "Where trainings run: in processes of this machine, or on a Ray cluster (needs scalesearch[ray]).",
    "Workers and machines")]
RayAddress = Annotated[str | None, Option(
    "Address of a Ray cluster; if left out a running one, or else a local one.", "Workers and machines")]
GpusPerTrial = Annotated[float, Option(
    "GPUs that Ray reserves for each training.", "Workers and machines", minimum=0, maximum=64)]
Retries = Annotated[int, Option(
    "How often a training is repeated after its worker died.", "Workers and machines", minimum=0, maximum=1000)]
Storage = Annotated[str | None, Option(
    "Database that several coordinators share, as postgresql://USER:PASSWORD@HOST/DATABASE; SQLite in the run's folder "
    "if left out.", "Workers and machines", variable="SCALESEARCH_STORAGE")]
# fmt: on
