"""Files of weights: round trip, every kind of bad file, other people's state dicts."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from scalesearch import __version__
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.naming import to_torchvision
from scalesearch.nets.weights import load_network, load_state_into, read_state, save_network
from tests.nets.specs import images, randomise, tiny, tiny_plain


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
    with pytest.raises(UserError, match="found nothing"):
        load_network(tmp_path / "absent.safetensors")
    with pytest.raises(UserError, match="found a folder"):
        load_network(tmp_path)
    text = tmp_path / "notes.safetensors"
    text.write_text("not weights at all, but long enough to hold a header")
    with pytest.raises(UserError, match="no readable safetensors"):
        load_network(text)
    text.write_bytes(b"")
    with pytest.raises(UserError, match="no readable safetensors"):
        load_network(text)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_truncated_file(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match="no readable safetensors"):
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
    with pytest.raises(UserError, match="spec that cannot be built"):
        load_network(saved)


def test_file_without_a_spec_or_with_another_networks(saved: Path) -> None:
    metadata = metadata_of(tiny())
    resaved(saved, {key: value for key, value in metadata.items() if key != "spec"})
    with pytest.raises(UserError, match="spec that cannot be built"):
        load_network(saved)
    resaved(saved, metadata_of(tiny(classes=6)))
    with pytest.raises(UserError, match=r"classifier\.1\.weight is 5×24, not 6×24"):
        load_network(saved)
    resaved(saved, metadata, without="features.0.0.weight")
    with pytest.raises(UserError, match=r"features\.0\.0\.weight is missing"):
        load_network(saved)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_read_state_of_torch_files(tmp_path: Path, wrap: str | None) -> None:
    state = network().state_dict()
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "net.pth")
    assert equal_states(read_state(tmp_path / "net.pth"), state)


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
    with pytest.raises(UserError, match="found nothing"):
        read_state(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3, "lr": 0.1}, torch.zeros(2)])
def test_read_state_of_files_without_named_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match="tensors under names"):
        read_state(tmp_path / "net.pth")


@pytest.mark.parametrize("family", ["efficientnet", "efficientnet_lite", "mobilenet_v2", "mnasnet"])
def test_load_state_in_any_naming(family: str) -> None:
    source, target = network(tiny_plain()), build(tiny_plain(), seed=5)
    report = load_state_into(target, to_torchvision(source.spec, source.state_dict(), family))
    assert equal_states(target.state_dict(), source.state_dict())
    assert (report.fresh, report.unused) == ((), ())
    assert set(report.copied) == {name for name in source.state_dict() if not name.endswith("num_batches_tracked")}


def test_another_number_of_classes_leaves_the_classifier_fresh() -> None:
    source, target = network(tiny(classes=5)), build(tiny(classes=7), seed=5)
    before = target.classifier[1].weight.clone()
    report = load_state_into(target, source.state_dict())
    assert report.fresh == ("classifier.1.weight", "classifier.1.bias")
    assert report.unused == ("classifier.1.bias", "classifier.1.weight")
    assert not set(report.copied) & set(report.fresh)
    assert torch.equal(target.classifier[1].weight, before)
    assert equal_states(target.features.state_dict(), source.features.state_dict())


def test_state_without_classifier_counters_and_with_other_parts() -> None:
    source, target = network(), build(tiny(), seed=5)
    kept = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if not name.startswith("classifier") and not name.endswith("num_batches_tracked")
    }
    report = load_state_into(target, {**kept, "ema.decay": torch.tensor(0.9)})
    assert report.fresh == ("classifier.1.weight", "classifier.1.bias")
    assert report.unused == ("ema.decay",)
    assert set(report.copied) == set(kept)


def test_misfits_are_named_counted_and_nothing_is_copied() -> None:
    target = build(tiny(), seed=5)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    wider = replace(tiny(), head=replace(tiny().head, width=32))
    with pytest.raises(UserError, match=r"features\.4\.0\.weight is 32×12×1×1, not 24×12×1×1.*; 6 in all.*Use weights"):
        load_state_into(target, network(wider).state_dict())
    deeper = replace(tiny(), stages=(*tiny().stages[:2], replace(tiny().stages[2], depth=2)))
    with pytest.raises(UserError, match=r"^net\.pth: found features\.3\.1\.block\.0\.0\.weight has no place"):
        load_state_into(target, network(deeper).state_dict(), where="net.pth")
    state = network().state_dict()
    del state["features.0.1.running_var"]
    with pytest.raises(UserError, match=r"features\.0\.1\.running_var is missing"):
        load_state_into(target, state)
    half = {name: tensor for name, tensor in network().state_dict().items() if name != "classifier.1.bias"}
    with pytest.raises(UserError, match=r"classifier\.1\.bias is missing"):
        load_state_into(target, half)
    assert equal_states(before, target.state_dict())


@pytest.mark.parametrize(("name", "other"), [("resnet18", "resnet34"), ("mobilenet_v3_small", "mobilenet_v3_large")])
def test_torchvisions_other_families_load_whole_or_not_at_all(name: str, other: str) -> None:
    network = build(load_space(name).baseline, seed=0)
    theirs = randomise(torchvision.models.get_model(name))
    report = load_state_into(network, theirs.state_dict())
    assert (report.fresh, report.unused) == ((), ())
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match=f"the tensors of {name}"):
        load_state_into(network, torchvision.models.get_model(other).state_dict())
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
