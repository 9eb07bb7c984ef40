"""Functions and commands on devices: what they take, refuse, write and print."""

import json
from pathlib import Path

import pytest

from scalesearch.api import device
from scalesearch.cli.main import run
from scalesearch.design import probes as probing
from scalesearch.design.latency import load_table
from scalesearch.errors import UserError
from scalesearch.nets import runner


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small networks, few rounds."""
    for name, value in (("PIECES", 34), ("WHOLE_FITTED", 2), ("WHOLE_CHECKED", 3), ("PIECE_MACS", 1e6), ("TRIES", 4)):
        monkeypatch.setattr(probing, name, value)
    monkeypatch.setattr(runner, "ROUNDS", 2)


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["scalesearch", *map(str, words)])
    with pytest.raises(SystemExit) as leaving:
        run()
    assert leaving.value.code in (0, None)


def test_a_device_is_measured_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "device.json"
    typed(monkeypatch, "device", "measure", "--spaces", "mbconv_small", "--threads", "1", "--out", file)
    printed = capsys.readouterr().out
    assert "38 of 38 networks timed" in printed
    assert "1 thread" in printed
    assert "on 3 networks that it was not fitted to" in printed
    assert "with each doubling of depth" in printed
    assert f"Written: {file}" in printed
    table = load_table(file)
    assert (table.runtime, table.threads, table.spaces) == ("torch", 1, ("mbconv_small",))
    typed(monkeypatch, "device", "show", file)
    shown = capsys.readouterr().out
    assert str(table) in shown
    assert "depthwise" in shown
    typed(monkeypatch, "device", "show", file, "--json")
    assert json.loads(capsys.readouterr().out)["networks"] == table.networks
    assert device.show(file) == table


def test_a_probe_is_written_run_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    board, times = tmp_path / "board", tmp_path / "times.json"
    typed(monkeypatch, "device", "probe", board, "--spaces", "mbconv_small", "--batch-size", "2")
    assert f"Written: {board}, 39 networks" in capsys.readouterr().out
    times.write_text(json.dumps(runner.run(str(board), 1, 60, lambda *done: None)))
    result = device.measure(from_probe=times, out=tmp_path / "board.json")
    assert result.table.batch_size == 2
    assert device.show(times) == result.table == load_table(result.file)


def test_shares_of_a_networks_time_make_one(tmp_path: Path) -> None:
    from scalesearch.design.space import load_space

    table = device.measure(spaces="mbconv_small", threads=1, out=tmp_path / "device.json").table
    shares = table.shares(load_space("mbconv_small").baseline)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"out": "device.txt"}, r"--out: device\.txt does not end in \.json"),
        ({"spaces": "mbconv_smal"}, 'Did you mean "mbconv_small"'),
        ({"spaces": " , "}, "--spaces: no space was named"),
        ({"runtime": "onnxruntime", "dtype": "bfloat16"}, "--dtype: ONNX Runtime times networks of float32"),
        ({"runtime": "onnxruntime", "device": "cuda"}, "--device: ONNX Runtime times networks on the CPU"),
        ({"dtype": "float16"}, "--dtype: torch has no fast float16 on a CPU"),
        ({"device": "tpu"}, "'tpu' is none of auto, cpu, cuda"),
        ({"from_probe": "nothing.json"}, "nothing.json: the times of a device's probe should be here"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    asked: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        device.measure(**asked)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
