"""Typer commands made from the options dataclasses of ``scalesearch.api``."""

import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer

from scalesearch.api.options import Field, Option, Shell, check_bounds, options_of

O = TypeVar("O")  # noqa: E741


def offered(kind: Shell) -> Iterable[str]:
    """What a shell may complete an option by; where no name fits it completes files and folders by itself."""
    match kind:
        case "spaces":
            from scalesearch.design.space import space_names

            return space_names()
        case "models":
            from scalesearch.design.family import model_names

            return model_names()
        case "data":
            from scalesearch.data.dataset import SET_NAMES

            return SET_NAMES
        case "weights":
            from scalesearch.nets.sources import NEAREST, PUBLISHED

            return (NEAREST, *PUBLISHED)
        case "runs":
            return [str(path.parent) for path in sorted(Path("runs").glob("*/run.json"))]


def completion(kind: Shell) -> Callable[[str], list[str]]:
    """What typer calls with what was typed so far."""
    return lambda incomplete: [name for name in offered(kind) if name.startswith(incomplete)]


@dataclass(frozen=True)
class Terminal:
    """The options that are the terminal's alone: what is printed, and whether it is asked first. A command names those
    that it takes; the others keep their defaults."""

    # fmt: off
    fvcore: Annotated[bool, Option("Build the network and count with fvcore, too.", "Run and output")] = False
    find_lr: Annotated[bool, Option(
        "Only suggest a learning rate, by the loss while the rate rises step by step.", "Training")] = False
    plan: Annotated[bool, Option("Only print what becomes of every tensor of the weights.", "Run and output")] = False
    dry_run: Annotated[bool, Option(
        "Show what would be trained and an estimate; train nothing.", "Run and output")] = False
    watch: Annotated[bool, Option(
        "Write the report again whenever something has ended, until interrupted; the page loads itself anew.",
        "Run and output")] = False
    yes: Annotated[bool, Option("Start without asking, however long it takes.", "Run and output", short="y")] = False
    json: Annotated[bool, Option("Print one JSON document instead of tables.", "Run and output")] = False
    # fmt: on


def command(
    name: str, options: type[O], show: Callable[[O, Terminal], None], *terminal: str
) -> Callable[..., None]:  # fmt: skip
    """A Typer command that takes an options dataclass.

    Args:
        name: of the command, and of the public function with the same options.
        show: calls what that function calls, and prints; its docstring is the command's help.
        terminal: fields of ``Terminal`` that the command takes, too.
    """
    alone = [one for one in options_of(Terminal) if one.name in terminal]
    parameters = [_parameter(one) for one in (*options_of(options), *alone)]

    def run(**given: Any) -> None:
        flags = {one.name: given.pop(one.name) for one in alone}
        asked = options(**given)
        check_bounds(asked)
        show(asked, Terminal(**flags))

    vars(run).update(__signature__=inspect.Signature(parameters), options=options, terminal=terminal)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__name__, run.__doc__ = name, show.__doc__
    return run


def _parameter(field: Field) -> inspect.Parameter:
    option = field.option
    within = f"{option.minimum:.12g}..{option.maximum:.12g}" if field.bounded else None  # held by ``check_bounds``
    common: dict[str, Any] = {
        "help": option.help, "metavar": within, "rich_help_panel": option.panel or None,
        "autocompletion": completion(option.shell) if option.shell else None, "envvar": option.variable or None,
    }  # fmt: skip
    kind = typed(field)
    if option.argument:
        info = typer.Argument(**common)
    else:
        name = "--" + field.name.replace("_", "-")
        declared = f"{name}/--no-{name[2:]}" if option.negative else name
        info = typer.Option(declared, *([f"-{option.short}"] if option.short else []), **common)
    annotation: Any = Annotated[kind, info]
    default = str(field.default) if option.unit and isinstance(field.default, int | float) else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def typed(field: Field) -> Any:
    """What the command line takes for a field: one type, where Python takes several.

    Several of something rather than one; choices; text where a number has a unit; else the first plain type.

    >>> typed(Field("images", str | Path | Sequence[str | Path], None, Option("Images.")))
    list[str]
    """
    union = get_origin(field.kind) in (Union, types.UnionType)
    kinds = get_args(field.kind) if union else (field.kind,)
    many = [one for one in kinds if get_origin(one) in (list, tuple, Sequence)]
    choices = [choice for one in kinds if get_origin(one) is Literal for choice in get_args(one)]
    plain: Any
    if many:
        element = get_args(many[0])[0]
        plain = list[typed(Field(field.name, element, None, field.option))]  # type: ignore[misc]
    elif choices:
        plain = Literal[tuple(choices)]
    elif field.option.unit:
        plain = str
    else:
        plain = next(one for one in kinds if one in (bool, int, float, str, Path))
    return plain | None if type(None) in kinds else plain
