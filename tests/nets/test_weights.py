"""Files of weights: round trip, every kind of bad file, other people's state dicts."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scalesearch import __version__
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.weights import PIXELS, framing_values, load_network, read_state, save_network
from tests.nets.specs import images, randomise, tiny


def network(spec: NetSpec | None = None, seed: int = 1) -> MBConvNet:
    return randomise(build(spec or tiny(), seed=seed), seed)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_network(path, network())
    return path


def resaved(path: Path, metadata: dict[str, str] | None, without: str = "") -> None:
    """The same tensors under other metadata."""
    save_file({name: tensor for name, tensor in load_file(path).items() if name != without}, path, metadata)


def metadata_of(spec: NetSpec) -> dict[str, str]:
    return {"format": "scalesearch-network", "format_version": "1", "spec": json.dumps(spec.to_dict())}


def equal_states(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "values", [{"resize_px": 0, "interpolation": "bicubic"}, {"resize_px": 256}, {"resize_px": 2.5},
               {"resize_px": 256, "interpolation": "cubic"}, {"resize_px": 10**9, "interpolation": "bilinear"}],
)  # fmt: skip
def test_a_cut_that_cannot_be_is_refused(values: dict[str, object]) -> None:
    known = {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert framing_values({PIXELS: json.dumps(known)}) is None
    whole = known | {"resize_px": 256, "interpolation": "bilinear"}
    assert framing_values({PIXELS: json.dumps(whole)}) == (256, "bilinear")
    with pytest.raises(UserError, match="images cannot be resized"):
        framing_values({PIXELS: json.dumps(known | values)})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "net.safetensors"
    original = network().to(memory_format=torch.channels_last)
    save_network(path, original, {"dataset": "flowers"}, classes=["a", "b", "ç", "d", "e"])
    loaded, metadata = load_network(path)
    assert loaded.spec == original.spec
    assert not loaded.training
    assert equal_states(loaded.state_dict(), original.state_dict())
    assert metadata["dataset"] == "flowers"
    assert metadata["scalesearch_version"] == __version__
    assert json.loads(metadata["classes"]) == ["a", "b", "ç", "d", "e"]
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images(2, 20)), original(images(2, 20)))
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full_disk(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_network(saved, network(seed=2))
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    path, changed = tmp_path / "net.safetensors", network()
    with pytest.raises(ValueError, match="format's own: spec"):
        save_network(path, changed, {"spec": "mine"})
    with pytest.raises(ValueError, match="2 class names for a network of 5 classes"):
        save_network(path, changed, classes=["a", "b"])
    changed.classifier[1] = torch.nn.Linear(24, 9)
    with pytest.raises(ValueError, match=r"classifier\.1\.weight is 9×24, not 5×24"):
        save_network(path, changed)
    assert not path.exists()


def test_missing_file_folder_and_foreign_bytes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is nothing"):
        load_network(tmp_path / "absent.safetensors")
    with pytest.raises(UserError, match="a file of weights should be here, not a folder"):
        load_network(tmp_path)
    text = tmp_path / "notes.safetensors"
    text.write_text("not weights at all, but long enough to hold a header")
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_network(text)
    text.write_bytes(b"")
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_network(text)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_truncated_file(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_network(saved)


def test_foreign_safetensors(saved: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        resaved(saved, metadata)
        with pytest.raises(UserError, match="without this project's metadata"):
            load_network(saved)


@pytest.mark.parametrize("version", ["2", "10", "", "one"])
def test_newer_or_unreadable_format_version(saved: Path, version: str) -> None:
    resaved(saved, {**metadata_of(tiny()), "format_version": version})
    with pytest.raises(UserError, match="at most 1"):
        load_network(saved)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"name": "x"}',
        json.dumps({**tiny().to_dict(), "activation": "gelu"}),
        json.dumps({**tiny().to_dict(), "classes": -1}),
        json.dumps({**tiny().to_dict(), "surprise": 1}),
    ],
)
def test_spec_that_cannot_be_built(saved: Path, spec: str) -> None:
    resaved(saved, {**metadata_of(tiny()), "spec": spec})
    with pytest.raises(UserError, match="its spec cannot be built"):
        load_network(saved)


def test_file_without_a_spec_or_with_another_networks(saved: Path) -> None:
    metadata = metadata_of(tiny())
    resaved(saved, {key: value for key, value in metadata.items() if key != "spec"})
    with pytest.raises(UserError, match="its spec cannot be built"):
        load_network(saved)
    resaved(saved, metadata_of(tiny(classes=6)))
    with pytest.raises(UserError, match=r"classifier\.1\.weight is 5×24, not 6×24"):
        load_network(saved)
    resaved(saved, metadata, without="features.0.0.weight")
    with pytest.raises(UserError, match=r"features\.0\.0\.weight is missing"):
        load_network(saved)


def test_read_state_of_the_own_format(saved: Path) -> None:
    assert equal_states(read_state(saved), network().state_dict())


class Payload:
    """Its unpickling would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_files_with_code_are_refused_unrun(tmp_path: Path) -> None:
    path, trace = tmp_path / "net.pth", tmp_path / "ran"
    for write in (
        lambda: torch.save({"a": Payload(trace)}, path),
        lambda: path.write_bytes(pickle.dumps(Payload(trace))),
    ):
        write()
        with pytest.raises(UserError, match="can run code"):
            read_state(path)
    torch.save(network(), path)
    with pytest.raises(UserError, match="can run code"):
        read_state(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"hello, these are no weights", b"PK\x03\x04 broken zip"])
def test_read_state_of_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(UserError, match="no plain state dict"):
        read_state(tmp_path / "net.pth")
    with pytest.raises(UserError, match="there is nothing"):
        read_state(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3, "lr": 0.1}, torch.zeros(2)])
def test_read_state_of_files_without_named_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match="no tensors under names"):
        read_state(tmp_path / "net.pth")


def test_a_view_of_terabytes_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"which a file of \S+ MB does not hold"):
        read_state(tmp_path / "net.pt")


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "plain.pt")
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(tmp_path / "plain.pt") as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"unpacks to 0\.02 GB"):
        read_state(bomb)


def test_entries_under_no_name_are_refused(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(1), ("a", 2): torch.zeros(1)}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"no tensors under names, only 1, \('a', 2\)"):
        read_state(tmp_path / "net.pt")


@pytest.mark.parametrize("tensor", [torch.zeros(2, 2).to_sparse(), torch.zeros(2, dtype=torch.complex64)])
def test_tensors_that_are_not_plain_are_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save({"a": tensor}, tmp_path / "net.pt")
    with pytest.raises(UserError, match="no plain"):
        read_state(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1 << 33, 1 << 33], "data_offsets": [0, 4]},
    ],
)
def test_a_header_that_declares_terabytes_is_refused(tmp_path: Path, entry: dict[str, object]) -> None:
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_network(tmp_path / "net.safetensors")


def test_an_absurd_spec_is_refused_before_it_is_built(saved: Path) -> None:
    spec = tiny().to_dict()
    stages = [{**stage, "depth": 256, "width": 16384} for stage in spec["stages"]]
    for absurd in ({**spec, "stages": stages * 20}, {**spec, "stages": [{**stages[0], "depth": 10**12}]}):
        resaved(saved, {**metadata_of(tiny()), "spec": json.dumps(absurd)})
        with pytest.raises(UserError, match="its spec cannot be built"):
            load_network(saved)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.pt")
    with pytest.raises(UserError, match="a file of weights should be here, not a pipe or device"):
        read_state(tmp_path / "net.pt")
