"""How commands behave whatever they do: help, names, quiet, colours, completion, the doctor."""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import pytest

from scalesearch.cli.grouped import first
from scalesearch.cli.interruption import interruptible
from scalesearch.cli.shell import set_verbosity
from scalesearch.data import places
from scalesearch.data.places import cache_root
from scalesearch.errors import RunInterruptedError
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder

COMMANDS = ("baseline", "grid", "verify", "scale", "family", "finetune", "evaluate", "predict", "export", "report",
            "paper", "doctor")  # fmt: skip
ENTRY = [sys.executable, "-m", "scalesearch"]


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm-256color", **more}


@pytest.fixture(autouse=True)
def _usual_verbosity() -> object:
    yield
    set_verbosity(quiet=False, verbose=False)


def test_commands_are_in_groups(cli: Cli) -> None:
    lines = cli("--help").out.splitlines()
    panels = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert [panel for panel in panels if panel in ("Search", "Train and use", "Look")] == [*dict.fromkeys(panels)][1:4]
    listed = [line.split()[0] for line in lines[lines.index("Search:") :] if line.startswith("  ") and line[2] != " "]
    assert set(COMMANDS) <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_json(cli: Cli, command: str) -> None:
    text = cli(command, "--help").out
    assert f"scalesearch {command}" in text.split("Example", 1)[1]
    assert "--json" in text


def test_options_are_in_panels(cli: Cli) -> None:
    text = cli("finetune", "--help").out
    places = [text.index(f"\n{panel}:\n") for panel in ("Network", "Data", "Training", "Memory and speed")]
    assert places == sorted(places)
    assert text.index("Memory and speed:") < text.index("--recompute") < text.index("Run and output:")
    assert text.index("Run and output:") < text.index("--plan") < text.index("\nOptions:")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gird",), "Did you mean 'grid'?"),
        (("finetune", "--strategy", "tial"), "Did you mean 'tail'?"),
        (("finetune", "--epoch", "3"), "--epochs"),
        (("baseline", "--space", "efficientnet_bo"), 'Did you mean "efficientnet_b0"?'),
        (("finetune", "--model", "b33"), "Did you mean b3?"),
        (("finetune", "--model", "efficientnet_b33"), "Did you mean efficientnet_b3"),
        (("grid", "--data", "cifer10"), "Did you mean cifar10"),
        (("scale", "--latency", "3"), "20ms"),
        (("scale", "--phi", "1", "--latency", "3ms"), "--latency"),
    ],
)
def test_mistyped_names_are_told_the_nearest(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_quiet_and_verbose_may_stand_anywhere() -> None:
    assert first(["grid", "--data", "x", "-q"]) == ["--quiet", "grid", "--data", "x"]
    assert first(["-v", "family"]) == ["--verbose", "family"]
    assert first(["predict", "m", "--", "-q"]) == ["predict", "m", "--", "-q"]


def test_quiet_prints_results_alone(cli: Cli) -> None:
    usual, quiet = cli("scale", "--phi", 1).out, cli("scale", "--phi", 1, "-q").out
    assert "Nothing was searched" in usual
    assert "Train it: scalesearch finetune" in usual
    assert "Nothing was searched" not in quiet
    assert "Train it" not in quiet
    assert set(quiet.splitlines()) < set(usual.splitlines())
    assert "Written: family/efficientnet_b0/b1.json" in quiet


def test_verbose_leaves_standard_output_alone(cli: Cli) -> None:
    ended = cli("baseline", "--json", "-v")
    assert json.loads(ended.out)["digest"] in ended.err
    assert cli("baseline", "--json").err == ""


def test_quiet_training_shows_no_epochs(cli: Cli, image_folder: MakeFolder) -> None:
    common = ("finetune", "--model", "mbconv_small", "--data", image_folder(), "--resolution", 16, "--epochs", 1)
    ended = cli(*common, "--batch-size", 16, "--device", "cpu", "--out", "m", "-q")
    assert ended.code == 0, ended.err
    assert [line.split()[0] for line in ended.out.splitlines() if not line.startswith("WARNING")] == [
        "Accuracy", "Model:",
    ]  # fmt: skip
    exported = cli("export", "m/model.safetensors", "--format", "torch-export", "--json")
    values = json.loads(exported.out)
    assert Path(values["file"]).is_file()
    assert values["resolution"] == 16


def in_a_terminal(arguments: tuple[str, ...], folder: Path, **variables: str) -> str:
    """What a terminal would be sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*ENTRY, *arguments], cwd=folder, stdout=theirs, env=environment(**variables)) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            found += part
    os.close(ours)
    assert process.returncode == 0
    return found.decode()


def test_no_escape_codes_when_piped_or_unwanted(tmp_path: Path) -> None:
    assert "\x1b[" in in_a_terminal(("baseline",), tmp_path)
    assert "\x1b[" not in in_a_terminal(("baseline",), tmp_path, NO_COLOR="1")
    piped = subprocess.run(
        [*ENTRY, "baseline"], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment()
    )
    assert "efficientnet_b0" in piped.stdout
    assert "\x1b[" not in piped.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("scalesearch gr", ["grid"]),
        ("scalesearch baseline --space mobilenet_v3", ["mobilenet_v3_large", "mobilenet_v3_small"]),
        ("scalesearch finetune --model efficientnet_b7", ["efficientnet_b7"]),
        ("scalesearch finetune --data cifar", ["cifar10", "cifar100"]),
        ("scalesearch finetune --weights image", ["imagenet"]),
        ("scalesearch finetune --strategy g", ["gradual"]),
        ("scalesearch family --run runs/m", ["runs/mine"]),
    ],
)
def test_names_are_completed(typed: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "run.json").touch()
    asked = {"_SCALESEARCH_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    ended = subprocess.run(ENTRY, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment(**asked))
    assert ended.stdout.split() == offered


def test_doctor_says_what_there_is_and_what_will_be_used(cli: Cli, tmp_path: Path) -> None:
    import torch

    text = cli("doctor")
    assert text.code == 0, text.out
    assert torch.__version__ in text.out
    found = json.loads(cli("doctor", "--json").out)
    assert found["broken"] == []
    assert found["used"]["device"] in ("cpu", "cuda:0")
    assert found["variables"]["SCALESEARCH_CACHE"] == os.environ["SCALESEARCH_CACHE"]
    assert os.environ["SCALESEARCH_CACHE"] in found["folders"]["data cache"]
    assert found["extras"]["export"].startswith(("installed", "missing onnx"))
    assert list(tmp_path.iterdir()) == []


def test_doctor_ends_with_1_where_something_is_broken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_CACHE", "/proc/nowhere")
    ended = cli("doctor")
    assert ended.code == 1
    assert "BROKEN: /proc/nowhere cannot be written to" in ended.out
    assert json.loads(cli("doctor", "--json").out)["broken"]


class Interrupted:
    """Ctrl-C comes while it is freed, where Python drops it."""

    def __del__(self) -> None:
        raise KeyboardInterrupt


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_not_lost_where_python_drops_it() -> None:
    def work() -> None:
        with interruptible():
            Interrupted()
            for _ in range(100):
                time.sleep(0.1)

    hook = sys.unraisablehook
    with pytest.raises(RunInterruptedError):
        work()
    assert sys.unraisablehook is hook


def test_a_batch_systems_signal_is_taken_as_ctrl_c() -> None:
    def work() -> None:
        with interruptible():
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunInterruptedError):
        work()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_module_is_imported_whole_before_a_signal_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_way.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> None:
        with interruptible():
            import_module("half_way")
            for _ in range(100):
                time.sleep(0.1)

    with pytest.raises(RunInterruptedError):
        work()
    assert sys.modules.pop("half_way").whole


def test_what_a_library_makes_of_a_signal_is_taken_as_the_signal() -> None:
    def work(made: BaseException) -> None:
        with interruptible():
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                raise made from None

    for made in (RuntimeError("an operator failed"), SystemExit(130)):
        with pytest.raises(RunInterruptedError):
            work(made)
    with pytest.raises(SystemExit):  # it came to its end all the same
        work(SystemExit(0))


def test_a_batch_systems_signal_while_estimating_is_one_sentence(image_folder: MakeFolder, tmp_path: Path) -> None:
    command = ("grid", "--space", "mbconv_small", "--data", str(image_folder()), "--target-flops", "1.5M", "--dry-run")
    process = subprocess.Popen(
        [sys.executable, "-m", "scalesearch", *command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Selection sees"):  # the last line before the estimate
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors.strip()) == (130, str(RunInterruptedError()))


def test_libraries_keep_things_beside_ours_where_the_home_cannot_be_written_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SCALESEARCH_CACHE", raising=False)
    untouched: dict[str, str] = {}
    places.lend_home(untouched)
    assert (untouched, cache_root()) == ({}, tmp_path / "home" / ".cache" / "scalesearch")
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    lent = {"MPLCONFIGDIR": "mine"}
    places.lend_home(lent)
    temporary = Path(tempfile.gettempdir()) / f"scalesearch-{os.getuid()}"
    assert (lent, cache_root()) == ({"MPLCONFIGDIR": "mine", "XDG_CACHE_HOME": str(temporary)}, temporary)
    monkeypatch.setenv("SCALESEARCH_CACHE", "named")
    assert cache_root() == Path("named")


def test_a_user_without_a_home_keeps_things_among_the_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_number: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("SCALESEARCH_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert cache_root() == Path(tempfile.gettempdir()) / f"scalesearch-{os.getuid()}"
