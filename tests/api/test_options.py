"""One option, one definition: every command and the Python function of its name take the same options."""

import inspect
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import typer

import scalesearch
from scalesearch.api import options
from scalesearch.api.options import BaselineOptions, Option, SearchOptions, options_of, takes
from scalesearch.cli.commands import Terminal, command
from scalesearch.cli.main import app, run
from scalesearch.errors import UserError

TERMINAL = {"fvcore", "find_lr", "plan", "dry_run", "yes", "json", "watch"}  # options that commands alone have
PYTHON = {"tell", "coefficients", "reading", "watcher"}  # parameters that functions alone have


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, callback and click command of every command, those of groups among them."""
    made = typer.main.get_command(group)
    for info in group.registered_commands:
        name = info.name or info.callback.__name__
        yield prefix + name, info.callback, made.commands[name.replace("_", "-")]  # type: ignore[attr-defined]
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, f"{prefix}{inner.name} ")


def function_of(command: str) -> Callable[..., Any]:
    """The public function of a command: ``scalesearch.grid``; of a group's ``scalesearch.api.faces.fit``."""
    group, _, name = command.rpartition(" ")
    room = __import__(f"scalesearch.api.{group}", fromlist=[name]) if group else scalesearch
    function: Callable[..., Any] = getattr(room, {"list": "members"}.get(name, name.replace("-", "_")))
    return function


ALL = {name: (callback, made) for name, callback, made in commands(app)}


def test_every_command_is_made_from_options() -> None:
    assert len(ALL) == 23
    assert all(hasattr(callback, "options") for callback, _ in ALL.values())


@pytest.mark.parametrize("name", list(ALL))
def test_a_command_and_its_function_take_the_same_options(name: str) -> None:
    callback, made = ALL[name]
    typed = {one.name: one for one in made.params if one.name != "help"}
    parameters = dict(inspect.signature(function_of(name)).parameters)
    assert set(typed) - TERMINAL == set(parameters) - PYTHON
    assert set(typed) & TERMINAL == set(callback.terminal)
    for field in options_of(callback.options):
        assert parameters[field.name].default == field.default
        assert typed[field.name].required == (field.default is inspect.Parameter.empty)


@pytest.mark.parametrize("name", list(ALL))
def test_every_option_says_what_it_does(name: str) -> None:
    callback, _ = ALL[name]
    described = inspect.getdoc(function_of(name)) or ""
    for field in options_of(callback.options):
        assert field.option.help.endswith(".")
        assert not field.option.help.startswith(("Of ", "How surely"))
        assert f"    {field.name}: {field.option.help}" in described


def test_what_is_the_terminals_alone_is_named_here() -> None:
    assert {field.name for field in fields(Terminal)} == TERMINAL
    assert not TERMINAL & {field.name for name in ALL for field in options_of(ALL[name][0].options)}


@dataclass(frozen=True)
class Asked:
    """Every kind of field."""

    given: Annotated[str | Path, Option("A path.", argument=True)]
    size: Annotated[float | str | None, Option("A size.", unit="flops")] = None
    _: KW_ONLY
    crop: Annotated[bool | None, Option("Crop.", negative=True)] = None
    many: Annotated[int, Option("So many.", short="m", minimum=1, maximum=9)] = 3
    tell: Callable[[str], None] | None = None


@takes(Asked)
def ask(asked: Asked) -> Asked:
    """Gives back what was asked.

    Raises:
        UserError: never.
    """
    return asked


def test_a_function_takes_an_options_dataclass_field_by_field() -> None:
    assert ask("x", 3e6, crop=True) == Asked("x", 3e6, crop=True)
    assert list(inspect.signature(ask).parameters) == ["given", "size", "crop", "many", "tell"]
    assert inspect.signature(ask).return_annotation is Asked
    lines = (inspect.getdoc(ask) or "").splitlines()
    assert lines.index("Args:") < lines.index("    many: So many.") < lines.index("Raises:")
    with pytest.raises(TypeError, match="missing"):
        ask()  # type: ignore[call-arg]


def test_a_command_is_typed_as_people_type() -> None:
    heard: list[tuple[Asked, Terminal]] = []

    def show(asked: Asked, terminal: Terminal) -> None:
        """Shows."""
        heard.append((asked, terminal))

    small = typer.Typer()
    small.command()(command("ask", Asked, show, "json"))
    small(["there", "--size", "400M", "--no-crop", "-m", "4", "--json"], standalone_mode=False)
    assert heard == [(Asked("there", "400M", crop=False, many=4), Terminal(json=True))]
    with pytest.raises(UserError, match=r"--many: 10 is not a number from 1 to 9\."):
        small(["there", "--many", "10"])


@pytest.mark.parametrize(("given", "macs"), [("400M", 4e8), (4e8, 4e8), (None, None)])
def test_numbers_with_units_are_numbers_or_text(given: float | str | None, macs: float | None) -> None:
    assert options.macs(given, "--flops") == macs
    assert options.seconds("1.5h", "--time-budget") == options.seconds(5400.0, "--time-budget") == 5400
    with pytest.raises(scalesearch.UserError, match="--time-budget"):
        options.seconds("soon", "--time-budget")


def test_scratch_is_nothing_to_inherit() -> None:
    assert options.inherited("scratch") is options.inherited(None) is None
    assert options.inherited(Path("m.safetensors")) == "m.safetensors"


SCRIPT = """
import scalesearch

result = scalesearch.grid("photos", seeds=3, target_flops="400M", time_budget=1800.0, skip_broken=True, tell=print)
model = scalesearch.finetune(result.scale(2.5), "photos", weights="imagenet", optimizer="sgd", tell=print)
share: float = scalesearch.evaluate(model, part="validation").top1
labels = [one.label for one in scalesearch.predict(model, ["a.png", "b.png"], top=1)]
tau = scalesearch.verify(result.folder, phi=3, storage=None).tau
"""


@pytest.mark.slow
def test_type_checkers_know_every_option(tmp_path: Path) -> None:
    def checked(script: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.py").write_text(script)
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--follow-imports", "silent",
                   str(tmp_path / "script.py")]  # fmt: skip
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])

    assert checked(SCRIPT).returncode == 0, checked(SCRIPT).stdout
    wrong = checked('import scalesearch\nscalesearch.grid("x", sead=1)\nscalesearch.finetune(epochs="2")\n')
    assert "script.py:2: error: Unexpected keyword argument" in wrong.stdout
    assert "script.py:3: error: Argument" in wrong.stdout


NUMBERS = [
    (name, field) for name, (callback, _) in ALL.items() for field in options_of(callback.options) if field.bounded
]


@pytest.mark.parametrize(("name", "field"), NUMBERS, ids=lambda one: one if isinstance(one, str) else one.name)
def test_every_number_has_bounds_that_are_held(
    name: str, field: options.Field, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line and in Python, before anything else is looked at."""
    callback, made = ALL[name]
    low, high, option = field.option.minimum, field.option.maximum, "--" + field.name.replace("_", "-")
    assert -math.inf < low < high < math.inf
    assert field.default in (None, inspect.Parameter.empty) or low <= field.default <= high
    given = {one.name: "x" for one in options_of(callback.options) if one.default is inspect.Parameter.empty}
    for value in (low - 1, high * 2 + 1, math.nan, math.inf, -math.inf, 1e20, 10**30):
        with pytest.raises(UserError, match=rf"{option}: .* is not a number from "):
            function_of(name)(**{**given, field.name: value})
    needed = [one for one in made.params if one.required]
    words = ["x" if one.param_type_name == "argument" else f"{one.opts[0]}=x" for one in needed]
    text = "nan" if float in (field.kind, *get_args(field.kind)) else "1" + 30 * "0"
    monkeypatch.setattr(sys, "argv", ["scalesearch", *name.split(), *words, f"{option}={text}"])
    with pytest.raises(SystemExit) as leaving:
        run()
    assert leaving.value.code == 2
    assert f"Error: {option}: {text} is not a number from " in capsys.readouterr().err


@pytest.mark.parametrize(
    "value",
    ["1e30", "nan", "inf", "-1", "0", "1e-9", "1e30h", "1e400", "0s", "-1s", "", "0M", 0, -1.0, math.nan, math.inf],
)
def test_sizes_and_times_are_finite_and_above_nothing(value: str | float) -> None:
    for parse in (options.macs, options.seconds):
        with pytest.raises(UserError, match="--x"):
            parse(value, "--x")


def test_a_budget_says_what_sizes_are_of() -> None:
    for asked, measure, target, size in (
        ({}, "flops", None, "own"), ({"target_flops": "3M"}, "flops", 3e6, "3M"),
        ({"target": "3M"}, "flops", 3e6, "3M"), ({"budget": "params", "target": 2e6}, "params", 2e6, "2M-params"),
        ({"budget": "activations"}, "activations", None, "own-activations"),
        ({"budget": "memory", "target": "64MB"}, "memory", 64e6, "64MB-memory"),
    ):  # fmt: skip
        budget = options.budget_of(SearchOptions(**asked))  # type: ignore[arg-type]
        assert (budget.measure.kind, budget.target, budget.size) == (measure, target, size)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"budget": "params", "target_flops": "3M"}, r"--target-flops: .* beside --budget params"),
        ({"target": "3M", "target_flops": "3M"}, r"--target-flops: .* beside --target"),
        ({"budget": "params", "target": "20ms"}, r'--target: "20ms" is not a number of parameters'),
        ({"target": -1.0}, r"--target: -1.0 is not a number above 0"),
        (
            {"budget": "latency", "target": "20ms"},
            r"--device-table: --budget latency needs the table .* device measure",
        ),
        ({"budget": "params", "runtime": "board"}, r"--runtime: --budget params asks for no runtime's memory"),
        ({"device_table": "device.json"}, r"--device-table: --budget flops asks no device"),
        ({"budget": "latency", "device_table": "there-is-none.json"}, r"there-is-none\.json"),
    ],
)
def test_a_budget_that_contradicts_itself_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        options.budget_of(BaselineOptions(**asked))
