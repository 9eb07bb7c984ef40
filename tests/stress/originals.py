"""Small valid files of every kind that a command reads, made anew by the code that writes them."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scalesearch.data.arrays import stored
from scalesearch.data.batches import IMAGENET_STATISTICS
from scalesearch.design.cost import cost
from scalesearch.design.family import write_spec
from scalesearch.design.space import Grid, load_space, spaces_folder
from scalesearch.design.spec import NetSpec, Shape, reshape
from scalesearch.faces.detection import CLOSE
from scalesearch.faces.gallery import add, empty_gallery, fitted, save_gallery
from scalesearch.faces.model import Card, embedder, save_model
from scalesearch.nets.modules import build
from scalesearch.nets.weights import save_network
from scalesearch.study.answer import conclude, field, measured_speeds, recommend, write_answer
from scalesearch.study.config import TrainConfig
from scalesearch.study.outcomes import packed, write_predictions, write_rows
from scalesearch.study.plan import Measurement, SearchPlan, row, trial
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race, advance
from scalesearch.study.record import FORMAT, read_results
from scalesearch.study.row import TrialResult
from scalesearch.training.model_file import metadata_of
from scalesearch.training.step import Training, classification_loss, start
from tests.study.contradictions import verified
from tests.training.toys import CPU, STEPS, ToyNet, fit, toy_batches

CACHE_SHAPE = (3, 8, 8, 3)
CONFIG = TrainConfig(epochs=3, ema_decay=0.9)
TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # a quarter, as cameras say it
FORMATS: dict[str, tuple[dict[str, Any], ...]] = {  # what Pillow is told when it writes them
    ".jpg": ({}, {"progressive": True}, {"quality": 20, "exif": TURNED}),
    ".png": ({}, {"compress_level": 0}),
    ".bmp": ({},),
    ".webp": ({}, {"lossless": True}),
    ".tif": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "jpeg"}),
    ".ppm": ({},),
    ".gif": ({}, {"save_all": True, "append_images": [Image.new("RGB", (24, 20))]}),
    ".avif": ({}, {"quality": 100}),
    ".jp2": ({}, {"irreversible": True}),
    ".qoi": ({},),
}  # fmt: skip


def pictures(suffix: str) -> list[bytes]:
    """The format's variants: colour, grey, with transparency, 16 bits, animated, each where it has them."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    images = [colour] if suffix == ".qoi" else [colour, colour.convert("L")]
    if suffix in (".png", ".tif", ".webp"):
        images.append(colour.convert("RGBA"))
    if suffix in (".png", ".tif"):
        images += [Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), colour.convert("P"), colour.convert("1")]
    if suffix == ".jpg":
        images.append(colour.convert("CMYK"))
    contents = []
    for image in images:
        for options in FORMATS[suffix]:
            if options.get("compression") == "jpeg" and image.mode not in ("L", "RGB"):
                continue
            written = io.BytesIO()
            kind = {".jpg": "JPEG", ".tif": "TIFF", ".jp2": "JPEG2000"}.get(suffix, suffix[1:].upper())
            image.save(written, kind, **options)
            contents.append(written.getvalue())
    return contents


def tables(folder: Path) -> list[bytes]:
    """Tables of files and labels, of two separators and encodings."""
    return [b"path,label\na.png,x\nb.png,y\n", "file;class;split\na.png;x;train\nb.png;ÿ;train\n".encode("utf-16")]


def shards(folder: Path) -> list[bytes]:
    """Tar files of three samples, in each of tar's formats, with labels of each kind."""
    contents = []
    for kind, ending in ((tarfile.USTAR_FORMAT, "cls"), (tarfile.PAX_FORMAT, "txt"), (tarfile.GNU_FORMAT, "json")):
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w", format=kind) as archive:
            for number, image in enumerate(pictures(".jpg")[:3]):
                label = b'{"label": %d}' % (number % 2) if ending == "json" else b"%d" % (number % 2)
                for suffix, content in (("jpg", image), (ending, label)):
                    long = "" if kind == tarfile.USTAR_FORMAT else "é" * 60
                    entry = tarfile.TarInfo(f"{long}{number}.{suffix}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        contents.append(written.getvalue())
    return contents


def _images_table() -> Any:
    pa = pytest.importorskip("pyarrow")
    features = {"label": {"names": ["x", "y"], "_type": "ClassLabel"}}
    images = [{"bytes": content, "path": f"{n}.jpg"} for n, content in enumerate(pictures(".jpg")[:4])]
    said = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.table({"image": images, "label": [0, 1, 0, 1]}).replace_schema_metadata(said)


def parquets(folder: Path) -> list[bytes]:
    """Parquet files of images, and one of files."""
    table, contents = _images_table(), []
    import pyarrow as pa
    from pyarrow import parquet

    files = pa.table({"path": ["a.png", "b.png"], "label": ["x", "y"]})
    for some, compression in ((table, "snappy"), (table, "none"), (table, "zstd"), (files, "snappy")):
        parquet.write_table(some, folder / "a.parquet", compression=compression, row_group_size=2)
        contents.append((folder / "a.parquet").read_bytes())
    return contents


def arrows(folder: Path) -> list[bytes]:
    """Arrow files that are read from end to end, or by an index, plain or compressed."""
    table, contents = _images_table(), []
    from pyarrow import BufferOutputStream, ipc

    for make in (ipc.new_stream, ipc.new_file):
        for compression in (None, "lz4"):
            written = BufferOutputStream()
            with make(written, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
                writer.write_table(table, 2)
            contents.append(written.getvalue().to_pybytes())
    return contents


def spaces() -> list[bytes]:
    """The shipped spaces."""
    return [path.read_bytes() for path in sorted(spaces_folder().glob("*.toml"))]


def small_spec(classes: int = 4) -> NetSpec:
    """mbconv_small with few channels: its names are known, its files are small."""
    spec = load_space("mbconv_small").baseline
    shape = Shape(4, tuple(4 for _ in spec.stages), spec.depths, 8, 16)
    return replace(reshape(spec, shape), classes=classes)


def _written(folder: Path, name: str, write: Callable[[Path], object]) -> bytes:
    write(folder / name)
    return (folder / name).read_bytes()


def specs(folder: Path) -> list[bytes]:
    """A spec as ``scale`` writes it."""
    return [_written(folder, "spec.json", lambda path: write_spec(path, small_spec()))]


def models(folder: Path) -> list[bytes]:
    """A model as ``finetune`` writes it."""
    network, metadata = build(small_spec(), seed=0), metadata_of(IMAGENET_STATISTICS, "glyphs")
    return [_written(folder, "model.safetensors", lambda path: save_network(path, network, metadata, list("abcd")))]


def foreign_safetensors(folder: Path) -> list[bytes]:
    """A state dict without this project's metadata."""
    import safetensors.torch

    return [safetensors.torch.save(dict(build(small_spec(), seed=0).state_dict()), {"format": "pt"})]


def hub_configs(folder: Path) -> list[bytes]:
    """What stands beside the weights on the Hub, of a network of ours and of one of timm's."""
    from scalesearch.nets.hub import config_of
    from scalesearch.nets.timm_model import TimmCall

    metadata = {
        "classes": '["a", "b", "c", "d"]',
        "pixel_statistics": '{"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}',
    }
    made = TimmCall("efficientnet_b0", {"bn_eps": 1e-3, "pad_type": "same", "act_layer": "relu", "in_chans": 1})
    return [json.dumps(config_of(small_spec(), call, metadata)).encode() for call in (None, made)]


def state_dicts(folder: Path) -> list[bytes]:
    """torch's own files: zip, wrapped."""
    files = []
    for content in (build(small_spec(), seed=0).state_dict(), {"state_dict": build(small_spec(), seed=1).state_dict()}):
        written = io.BytesIO()
        torch.save(content, written)
        files.append(written.getvalue())
    return files


def old_state_dicts(folder: Path) -> list[bytes]:
    """torch's files from before 1.6: bare pickles."""
    written = io.BytesIO()
    torch.save(build(small_spec(), seed=0).state_dict(), written, _use_new_zipfile_serialization=False)
    return [written.getvalue()]


def training() -> Training:
    """A toy network as it stands before its first step."""
    return start(ToyNet(), CONFIG, CPU)


def checkpoints(folder: Path) -> list[bytes]:
    """After its epochs, as training writes it."""
    loss = classification_loss(CONFIG)

    def write(path: Path) -> object:
        return fit(ToyNet(), toy_batches, STEPS, CONFIG, loss=loss, device=CPU, checkpoint=path)

    return [_written(folder, "checkpoint.safetensors", write)]


def galleries(folder: Path) -> list[bytes]:
    """Three people, with a threshold."""
    rng = np.random.default_rng(0)
    gallery = empty_gallery("abc", 6)
    for name in ("Ann", "Bo", "Çelik"):
        vectors = rng.standard_normal((3, 6)).astype(np.float32)
        gallery = add(gallery, name, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return [_written(folder, "gallery.safetensors", lambda path: save_gallery(path, fitted(gallery, 0.2)))]


def face_models(folder: Path) -> list[bytes]:
    """An embedder as ``faces fit`` writes it."""
    network = embedder(build(small_spec(6), seed=0))
    card = Card("small", 16, IMAGENET_STATISTICS, CLOSE, "ours", "a test", 0.5)

    def write(path: Path) -> object:
        return save_model(path, network, card, crop=False, trained_on=["a"], facts={"people": 3})

    return [_written(folder, "faces.safetensors", write)]


def face_cards(folder: Path) -> list[bytes]:
    """Cards of an ONNX network as people write them: a template by its name, and by points."""
    card = """\
weights = "body.onnx"
size_px = 16
mean = [127.5, 127.5, 127.5]
std = [128.0, 128.0, 128.0]
channels = "bgr"
licence = "ours"
source = "a test"
same_person = 0.5
"""
    points = "[[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]]"
    return [f"{card}template = {template}\n".encode() for template in ('"arcface"', '"box"', points)]


def face_networks(folder: Path) -> list[bytes]:
    """A network of ONNX for those cards."""
    from onnx import helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(3 * 16 * 16, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["face"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["out"])],
        "body", [helper.make_tensor_value_info("face", 1, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("out", 1, ["N", 4])], [numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return [content]


def caches(folder: Path) -> list[bytes]:
    """Decoded images as they are kept."""
    pixels = np.zeros(CACHE_SHAPE, np.uint8)
    return [_written(folder, "cache.npy", lambda path: stored(path, CACHE_SHAPE, lambda: [pixels]))]


def plan() -> SearchPlan:
    """A search of a handful of candidates."""
    baseline = replace(load_space("mbconv_small").baseline, classes=4)
    return SearchPlan(
        space="mbconv_small", baseline=baseline, grid=Grid(0.2, 0.2), rounding="budget", real_tolerance=0.1,
        target_macs=3e6, data="glyphs", data_digest="abc", validation=10, majority=0.3,
        proxy=Proxy(baseline, 2, 30), train=TrainConfig(epochs=2), device="cpu",
    )  # fmt: skip


def results() -> Sequence[TrialResult]:
    """Trainings of the baseline and the first three candidates of that search, made up: the better, the later."""
    made, labels = plan(), np.arange(10) % 4
    candidates = made.enumerate().candidates
    trainings = []
    for key in ((-1, 0, 2), (-1, 1, 2), (0, 0, 2), (1, 0, 2), (2, 0, 2)):
        one, right = trial(made, candidates, key), np.arange(10) < 7 + key[0]
        told = candidates[key[0]] if key[0] >= 0 else None
        measurement = Measurement(cost(one.spec).macs, 1, int(right.sum()), 10, 0.5, 1.0, latency_ms=2.0)
        predictions = np.where(right, labels, (labels + 1) % 4)
        content = packed(labels, predictions, np.where(right, 0.9, 0.1).astype(np.float32))
        trainings.append(TrialResult(row(made, one, told, measurement), content))
    return trainings


def write_run(folder: Path) -> dict[str, bytes]:
    """The files of a search, without its ledger: name below the folder → content."""
    made, rows = plan(), [one.row for one in results()]
    candidates, nominal = made.enumerate().candidates, made.enumerate().nominal
    images = {"train": 30, "validation": 10, "test": 10}
    facts = {
        "data_argument": "glyphs", "command": "scalesearch grid", "versions": {"python": "3"}, "hardware": "a machine",
        "date": "2026-11-25T08:10:30+00:00", "classes": 4, "images": images, "notes": [], "source_digest": "d",
        "nominal": nominal, "storage": "study.db", "candidates": len(candidates), "format": FORMAT,
        "plan": made.to_dict(), "plan_digest": made.digest, "seconds": 12.5,
        "continued": [{"command": "scalesearch grid", "date": "2026"}],
    }  # fmt: skip
    spec = made.baseline
    metrics = {
        "model": "b1", "macs": cost(spec).macs, "params": cost(spec).params, "resolution": 32, "data": "glyphs",
        "source_digest": "d", "classes": list("abcd"), "images": images, "start": "scratch",
        "config": made.train.to_dict(), "validation": {"top1": 0.5},
        "test": {"top1": 0.5, "low": 0.4, "high": 0.6, "top5": 1.0, "loss": 1.0, "correct": 5, "images": 10},
        "history": [{"epoch": 0, "train_loss": 1.0, "seconds": 1.0, "lr": 1e-3, "metrics": {"top1": 0.5, "loss": 1.0}}],
        "command": "scalesearch finetune", "date": "2026-11-25T08:10:30+00:00",
    }  # fmt: skip
    for one in results():
        write_predictions(folder, one)
    write_rows(folder, rows, made.digest)
    right, race, takers = read_results(folder, rows, made), Race(2, 0), field(made, candidates)
    state = advance(race, takers, right)
    answer = conclude(race, state, takers, candidates, right, measured_speeds(rows))
    assert answer is not None
    assert not answer.undecided
    write_answer(folder, answer, recommend(made, answer, candidates, right, len(state.wanted)))
    for name, values in {"run.json": facts, "models/b1-glyphs/metrics.json": metrics}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(values))
    verified(folder)
    files = (*folder.rglob("*.json"), *folder.rglob("*.npz"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}
