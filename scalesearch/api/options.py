"""What an option is, said once: its help, bounds, unit and panel, in the annotation of a dataclass's field.

The Typer command (``cli.commands``) and the Python function (``api.calls``) are both made from such a dataclass, so an
option cannot exist in one of them alone. Imports neither typer nor torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

NETWORK, DATA, TRAINING, TRANSFER, SCALING, GRID = (
    "Network", "Data", "Training", "What is trained", "Scaling", "Grid",
)  # fmt: skip
RACE, MEMORY, WORKERS, OUTPUT = "Race and training", "Memory and speed", "Workers and machines", "Run and output"
MEMBERS, STRANGERS = "Members", "Strangers"

Unit = Literal["flops", "seconds"]  # read by ``units.parse_flops`` and ``units.parse_duration``
Shell = Literal["spaces", "models", "data", "weights", "runs"]  # what a shell may complete it by


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
    panel: str = ""
    minimum: float | None = None
    maximum: float | None = None
    unit: Unit | None = None
    argument: bool = False
    short: str = ""
    negative: bool = False
    shell: Shell | None = None
    variable: str = ""


@dataclass(frozen=True)
class Field:
    """A field of an options dataclass with its option; ``kind`` is its type without the annotation."""

    name: str
    kind: Any
    default: Any
    option: Option


def options_of(kind: type) -> tuple[Field, ...]:
    """The options that a dataclass declares, in order; fields without an ``Option`` are for Python alone."""
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    found = []
    for field in fields(kind):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            plain, *extras = get_args(hint)
            for extra in extras:
                if isinstance(extra, Option):
                    found.append(Field(field.name, plain, field.default, extra))
    return tuple(found)


Tell = Callable[[str], None]
