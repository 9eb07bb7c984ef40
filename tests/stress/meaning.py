"""Files that are well-formed and wrong, given to the commands that read them.

    python -m tests.stress.fuzz --meaning --inputs 6000 --seed 0

A command may refuse such a file with one message that names it, or do exactly what it does with the right file: print
the same and write the same. Then nothing that it says depends on what is wrong. Changes that make another file that is
right (other weights, another resolution, another name of a class) are no part of this: no reader could tell.
"""

import json
import random
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.errors import UserError
from tests.stress import commands
from tests.stress.targets import Feed, Target

Arrays = dict[str, np.ndarray[Any, Any]]
Change = Callable[[random.Random, Arrays, dict[str, str]], None]  # of tensors and metadata, in place
NUMBERS = (-1, 0, -0.5, 1e9, 1e308, -(10**30), None, "x", "", [], {}, True, "NaN", [1])
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))


def _of_safetensors(*changes: Change) -> Callable[[random.Random, Sequence[bytes]], bytes]:
    """One of the changes of a safetensors file."""
    from safetensors.numpy import load, save

    def mutated(rng: random.Random, originals: Sequence[bytes]) -> bytes:
        content = rng.choice(originals)
        size = struct.unpack("<Q", content[:8])[0]
        metadata: dict[str, str] = json.loads(content[8 : 8 + size]).get("__metadata__", {})
        tensors = {name: tensor.copy() for name, tensor in load(content).items()}
        rng.choice(changes)(rng, tensors, metadata)
        return save(tensors, metadata)

    return mutated


def _weights(tensors: Arrays) -> list[str]:
    return sorted(name for name, tensor in tensors.items() if tensor.dtype.kind == "f" and tensor.ndim and tensor.size)


def _not_finite(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    tensor = tensors[rng.choice(_weights(tensors))].reshape(-1)
    tensor[rng.randrange(tensor.size)] = rng.choice(NOT_FINITE)


def _negative_variance(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    tensor = tensors[rng.choice([name for name in sorted(tensors) if name.endswith("running_var")])]
    tensor[rng.randrange(tensor.size)] = rng.choice((-1.0, -1e-3, -1e30))


def _other_tensors(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """Missing, too many, of another shape or type."""
    name, way = rng.choice(_weights(tensors)), rng.randrange(6)
    if way == 0:
        del tensors[name]
    elif way == 1:
        tensors[name + ".more"] = tensors[name]
    elif way == 2:
        tensors[name] = np.concatenate([tensors[name]] * 2)
    elif way == 3:
        tensors[name] = tensors[name][:-1]
    elif way == 4:
        tensors[name] = tensors[name][..., None]
    else:
        tensors[name] = tensors[name].astype(rng.choice((np.int64, np.uint8, np.bool_)))


def _classes(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    names = json.loads(metadata["classes"])
    wrong: tuple[Any, ...] = (
        names[:-1], [*names, "more"], [names[0]] * len(names), ["", *names[1:]], ["  ", *names[1:]], {}, None, 3, "ab",
        [names], [1, 2], [None, None], names * 500,
    )  # fmt: skip
    metadata["classes"] = rng.choice(("", "[", "NaN", *map(json.dumps, wrong)))


def _pixels(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    values, key = json.loads(metadata["pixel_statistics"]), rng.choice(("mean", "std"))
    way = rng.randrange(4)
    if way == 0:
        del values[key]
    elif way == 1:
        values[key] = rng.choice((values[key][:2], [*values[key], 0.5], [], None, 0.5, "abc", {}))
    else:
        wrong = (-0.1, 1e300, 255.0, *NOT_FINITE, None, "x", []) + ((0.0, 1e-300) if key == "std" else ())
        values[key][rng.randrange(3)] = rng.choice(wrong)
    metadata["pixel_statistics"] = json.dumps(values)


BAD_SPEC: Mapping[str, tuple[Any, ...]] = {
    "resolution": (0, -1, 7, 10**9, 32.5, None, "32"), "classes": (0, -1, 1, 3, 10**9, None),
    "in_channels": (0, 1, 4, -3, None), "activation": ("tanh", None, 0), "padding": ("reflect", None),
    "dropout": (-0.1, 1.5, None, "x"), "drop_path": (-1, 2, None), "width_divisor": (0, -8, 1.5),
    "stem": ({}, None, [], {"width": 0}, {"width": 9}), "stages": ([], None, {}, [{}]), "head": (None, {"width": 25}),
    "batch_norm": ({"eps": 0, "momentum": 0.1}, {"eps": -1, "momentum": 0.1}, {"eps": 1e-5, "momentum": 2}),
    "name": ("../../etc/passwd", "", "a/b", None, "x" * 3000),
}  # fmt: skip
BAD_STAGE: Mapping[str, tuple[Any, ...]] = {
    "width": (0, -8, 10**9, 9, None), "depth": (0, -1, 9, 10**6), "kernel": (0, 4, -3, 7, 99), "stride": (0, -1, 99),
    "expand_ratio": (0, -1, 1e9, 7), "se_ratio": (-1, 9, None), "block": ("dense", None, "basic"),
}  # fmt: skip


def worsen_spec(rng: random.Random, values: dict[str, Any]) -> None:
    """A network's table with one field that cannot be, or does not fit the tensors."""
    if rng.random() < 0.5:
        key = rng.choice(sorted(BAD_SPEC))
        values[key] = rng.choice(BAD_SPEC[key])
    else:
        key = rng.choice(sorted(BAD_STAGE))
        rng.choice(values["stages"])[key] = rng.choice(BAD_STAGE[key])


def _spec(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    values = json.loads(metadata["spec"])
    if isinstance(values, dict) and rng.random() < 0.9:
        worsen_spec(rng, values)
    else:
        values = rng.choice((None, {}, [], 3, "x"))
    metadata["spec"] = json.dumps(values)


def _head(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """What the file says that it is."""
    key = rng.choice(("format", "format_version"))
    metadata[key] = rng.choice(("", "99", "-1", "1e3", "scalesearch-else", "NaN", "../../etc"))
    if rng.random() < 0.2:
        del metadata[key]


def _data(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """Where the file says that its images are."""
    metadata["data_argument"] = rng.choice(
        ("/etc", "..", "../..", "/dev", "/dev/zero", "/proc/self", "", "nowhere", "x" * 3000, "\x1b[31m", "http://x")
    )


def _card(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """What a face body is given."""
    values, way = json.loads(metadata["card"]), rng.randrange(5)
    if way == 0:
        values["size_px"] = rng.choice((0, -1, 15, 48, 10**9, None, 24.5))
    elif way == 1:
        values["statistics"][rng.choice(("mean", "std"))][rng.randrange(3)] = rng.choice((*NOT_FINITE, 1e300, "x"))
    elif way == 2:
        values["statistics"]["std"] = rng.choice(([0, 0, 0], [-1, 1, 1], [1], None))
    elif way == 3:
        values["template"]["points"] = rng.choice(
            ([[0.5, 0.5]], [[9e9, 0], [1, 0]], [[0.7, 0.3], [0.3, 0.3]], "x", None)
        )
    else:
        values["same_person"] = rng.choice((-1, 0, 9, 4, "x", float("nan")))
    metadata["card"] = json.dumps(values)


def _known(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """What a face model says of its training."""
    key = rng.choice(("crop", "trained_on", "facts"))
    wrong: dict[str, tuple[Any, ...]] = {
        "crop": (None, 3, "x", [], {}), "trained_on": (None, 3, "abc", {}, [1]), "facts": (None, 3, [], "x"),
    }  # fmt: skip
    metadata[key] = rng.choice(("", "{", *map(json.dumps, wrong[key])))


def _people(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    names = json.loads(metadata["names"])
    wrong: tuple[Any, ...] = (
        names[:-1], [*names, "more"], [names[0]] * len(names), [names[0].upper(), *names[:-1]], ["", *names[1:]],
        ["../x", *names[1:]], ["/etc/passwd", *names[1:]], ["..", *names[1:]], ["a\0b", *names[1:]], [1, 2, 3, 4], {},
        None, "abcd", ["x" * 300, *names[1:]],
    )  # fmt: skip
    metadata["names"] = rng.choice(("", "[", *map(json.dumps, wrong)))


def _threshold(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    values = json.loads(metadata["threshold"])
    key = rng.choice(sorted(values))
    if rng.random() < 0.1:
        del values[key]
    elif key == "basis":
        values[key] = rng.choice(("hope", "members", None, 1))
    elif key in ("photos", "people"):
        values[key] = rng.choice((-1, 0, 1, 10**6, 2.5, None, "9"))
    elif key == "effective":  # of how many people they are stands nowhere else
        values[key] = rng.choice((-1, 0, 10**6, None, "9", *NOT_FINITE))
    else:
        values[key] = rng.choice((-1, 9, 0.9, 3.9, None, "0.5", 1e300, *NOT_FINITE))
    metadata["threshold"] = json.dumps(values)


def _embeddings(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    key, way = rng.choice(("embeddings", "labels", "strangers")), rng.randrange(6)
    tensor = tensors[key]
    if key == "embeddings" and way < 3:
        tensors[key] = tensor * rng.choice((2, 0, 0.9, -1.1))
    elif key != "labels" and way == 3:
        tensor.reshape(-1)[rng.randrange(tensor.size)] = rng.choice((*NOT_FINITE, 5.0, -5.0))
    elif key == "labels" and way == 3:
        tensor[rng.randrange(tensor.size)] = rng.choice((-1, 99))
    elif way == 4:
        tensors[key] = tensor[:-1]
    elif way == 5:
        tensors[key] = tensor.astype(np.float32 if key == "labels" else np.int64)
    else:
        del tensors[key]


def _width(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """Embeddings of another width, of length 1 all the same."""
    known = tensors["embeddings"]
    narrow = known[:, :-1] / np.linalg.norm(known[:, :-1], axis=1, keepdims=True)
    tensors["embeddings"] = rng.choice((np.concatenate([known, 0 * known], axis=1), narrow))


def _maker(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """The body that a gallery was made by."""
    key = rng.choice(("model", "crop"))
    metadata[key] = rng.choice(
        ("", "0" * 12, "../../etc", "3", "[]") if key == "model" else ("3", "[]", "x", "", "true")
    )


def _optimizer(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    name = rng.choice([one for one in sorted(tensors) if one.startswith("optimizer.")])
    tensor = tensors[name].reshape(-1)
    wrong = NOT_FINITE if name.endswith("exp_avg") else (*NOT_FINITE, -1.0)
    tensor[rng.randrange(tensor.size)] = rng.choice(wrong)
    tensors[name] = tensor.reshape(tensors[name].shape)


def _progress(rng: random.Random, tensors: Arrays, metadata: dict[str, str]) -> None:
    """A checkpoint's header."""
    values = json.loads(metadata["scalesearch.training"])
    way = rng.randrange(5)
    if way == 0:
        values["history"] = rng.choice((values["history"] * 9, None, {}, [3], [{"epoch": 0}]))
    elif way == 1:
        rng.choice(values["history"])[rng.choice(("epoch", "train_loss", "lr", "seconds", "metrics"))] = rng.choice(
            (None, "x", *NOT_FINITE, [], -7)
        )
    elif way == 2:
        values["identity"][rng.choice(sorted(values["identity"]))] = rng.choice(("other", 99, None))
    elif way == 3:
        values["format"] = rng.choice((0, 99, -1, None, "x"))
    else:
        values["begun"] = rng.choice((3, [], {"losses": []}, {"losses": [float("nan")], "seconds": 1.0}, "x"))
    metadata["scalesearch.training"] = json.dumps(values)


def of_spec(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A spec file whose network cannot be."""
    values = json.loads(rng.choice(originals))
    if rng.random() < 0.1:
        values["format"] = rng.choice((0, 99, None))
        return json.dumps(values).encode()
    spec, stage = values["spec"], rng.choice(values["spec"]["stages"])
    bad = {"resolution": (0, -1, 10**9), "classes": (0, -1), "activation": ("tanh",), "stem": ({}, None),
           "stages": ([],), "head": (None,), "name": ("a/b", ""), "dropout": (2, -1),
           "padding": ("reflect",)}  # fmt: skip
    bad_stage = {"width": (0, -8, 10**9), "depth": (0, -1, 10**6), "kernel": (0, 4, -3), "stride": (0, -1),
                 "expand_ratio": (0, -1, 1e9), "se_ratio": (-1, 9), "block": ("dense",)}  # fmt: skip
    holder, wrong = rng.choice(((spec, bad), (stage, bad_stage)))
    key = rng.choice(sorted(wrong))
    holder[key] = rng.choice(wrong[key])
    return json.dumps(values).encode()


def of_space(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A space whose numbers cannot be: one of a line after another."""
    lines = rng.choice(originals).decode().splitlines()
    places = [place for place, line in enumerate(lines) if "=" in line.partition("#")[0] and "[" not in line]
    place = rng.choice(places)
    key = lines[place].partition("=")[0]
    wrong = ("-1", "-0.5", "1e12", "nan", "inf", '"x"', "[]", "{}", "[1]", "1979-05-27")
    lines[place] = f"{key}= {rng.choice(wrong)}"
    return "\n".join(lines).encode()


def of_card(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A card of an ONNX network with one value that cannot be."""
    lines = rng.choice(originals).decode().splitlines()
    wrong = {
        "weights": ('"../../../etc/passwd"', '"/etc/passwd"', '""', "3", '"none.onnx"', '"body.toml"'),
        "size_px": ("0", "-1", "48", "1e9", '"x"', "1000000"), "mean": ("[nan, 0, 0]", "[1]", "[1e9, 0, 0]", '"x"'),
        "std": ("[0, 0, 0]", "[-1, 1, 1]", "[0.5, 0.5, 0.5]", "[inf, 1, 1]", "[]"), "licence": ('""', '"  "', "3"),
        "template": ('"other"', "[[0.5, 0.5]]", "[[9, 9], [8, 8]]", "3"), "same_person": ("-1", "0", "9", "nan", '"x"'),
    }  # fmt: skip
    key = rng.choice(sorted(wrong))
    kept = [line for line in lines if not line.startswith(f"{key} ")]
    return "\n".join([*kept, f"{key} = {rng.choice(wrong[key])}"]).encode()


def of_pairs(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """Pairs of photos that are not there, or said to be what they are not."""
    lines = rng.choice(originals).decode().splitlines()
    place = rng.randrange(1, len(lines))
    a, b, same = lines[place].split(",")
    lines[place] = rng.choice((
        f"{a},{b},{1 - int(same)}", f"{a},{b},2", f"{a},{b},", f"{a},{b}", f"../{a},{b},{same}", f"/etc/passwd,{b},0",
        f"{a},nobody/9.png,0", "", f"{a},{b},nan", f"{a}\0,{b},{same}",
    ))  # fmt: skip
    if not lines[place]:
        lines = lines[:1]
    return "\n".join(lines).encode()


@dataclass(frozen=True)
class Reading:
    """A command that reads a file of some kind.

    Args:
        file: where the wrong file is put, in a site of ``commands.prepare``.
        arguments: of the command.
        outputs: what it writes, compared with what the right file leads to.
        changed: besides ``file`` what is put back before each call.
        name: by which its message must name the file: its own where left out.
    """

    file: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    named: str = ""


def feeder(reading: Reading, before: Callable[[Path], object] | None = None) -> Callable[[Path], Feed]:
    """Calls the command on one file after another; raises UserError for a right refusal, AssertionError for else."""

    def made(folder: Path) -> Feed:
        site = commands.prepare(folder / "site")
        if before is not None:
            with commands.inside(site):
                before(site)
        writer = commands.Writer((), reading.outputs, reading.kept)
        expected: list[tuple[str, dict[str, bytes]]] = []
        state = _state(site)

        def feed(path: Path) -> object:
            _restore(site, state)
            shutil.copy(path, site / reading.file)
            with commands.inside(site):
                ended = commands.call(*reading.arguments)
            if ended.code == 2:
                name = reading.named or Path(reading.file).name
                assert ended.complaint() == "", ended.complaint()
                assert name in ended.err, f"does not name {name}: {ended.err}"
                assert commands.leftovers(site) == []
                raise UserError("refused", ended.err.strip()[-1000:])
            assert ended.code == 0, f"exit {ended.code}: {ended.out[-300:]} {ended.err[-600:]}"
            came = ended.out, commands.contents(site, writer)
            if not expected:
                expected.append(came)  # of the original, which comes first
            assert came[0] == expected[0][0], f"another output than with the right file: {came[0][-600:]}"
            assert came[1] == expected[0][1], "other files than with the right one"
            return came

        return feed

    return made


def _state(site: Path) -> dict[str, bytes]:
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in site.rglob("*")
        if path.is_file() and "cache" not in path.parts
    }


def _restore(site: Path, state: Mapping[str, bytes]) -> None:
    for path in sorted(site.rglob("*"), reverse=True):
        name = path.relative_to(site).as_posix()
        if name.split("/")[0] == "cache":
            continue
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in state:
            path.unlink()
    for name, content in state.items():
        if not (site / name).is_file() or (site / name).read_bytes() != content:
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_bytes(content)


def _file(name: str, before: Callable[[Path], object] | None = None) -> Callable[[Path], Sequence[bytes]]:
    """A file of the site."""

    def made(folder: Path) -> Sequence[bytes]:
        site = commands.prepare(folder / "site")
        if before is not None:
            with commands.inside(site):
                before(site)
        return [(site / name).read_bytes()]

    return made


def _face_model(site: Path) -> None:
    """A body that ``faces fit`` could have written, and a gallery of it."""
    from tests.stress.originals import face_models

    (site / "faces.safetensors").write_bytes(face_models(site)[0])
    made = commands.call("faces", "enroll", "people", "--body", "faces.safetensors", "--gallery", "own.safetensors")
    assert made.code == 0, made.err


def _other_files(site: Path) -> None:
    from scalesearch.design.family import write_spec
    from scalesearch.design.space import spaces_folder
    from tests.stress.originals import small_spec

    write_spec(site / "net.json", small_spec(2))
    shutil.copy(spaces_folder() / "mbconv_small.toml", site / "mine.toml")
    lines = ["a,b,same"]
    for person in range(4):
        lines += [f"person{person:03d}/0.png,person{person:03d}/1.png,1",
                  f"person{person:03d}/0.png,person{(person + 1) % 4:03d}/1.png,0"]  # fmt: skip
    (site / "pairs.csv").write_text("\n".join(lines))


def _half_trained(site: Path) -> None:
    """A training that was interrupted after its first epoch."""
    from scalesearch.training.history import Watcher

    class Stop(BaseException):
        pass

    def stop(record: object) -> None:
        raise Stop

    from scalesearch.api import finetune as room

    run = room.run
    room.run = lambda job, device, watcher: run(job, device, Watcher(epoch=stop))  # type: ignore[assignment]
    from scalesearch.training.checkpoint import SaveClock

    due = SaveClock.due
    SaveClock.due = lambda self: True  # type: ignore[method-assign]
    try:
        commands.call(*TUNE)
    except Stop:
        pass
    finally:
        room.run, SaveClock.due = run, due  # type: ignore[assignment,method-assign]
    assert (site / "tuned" / "checkpoint.safetensors").exists()


TUNE = (
    "finetune", "--model", "mbconv_small", "--data", "images", "--epochs", "2", "--batch-size", "8", "--resolution",
    "16", "--device", "cpu", "--out", "tuned", "--quiet",
)  # fmt: skip
MODEL, OWN, GALLERY = "model.safetensors", ("--body", "faces.safetensors"), ("--gallery", "gallery.safetensors")
TENSORS: tuple[Change, ...] = (_not_finite, _not_finite, _negative_variance, _other_tensors)
OF_MODEL = _of_safetensors(*TENSORS, _classes, _pixels, _spec, _head)
OF_MODEL_DATA = _of_safetensors(_data, _data, _classes, _not_finite)
OF_FACES = _of_safetensors(*TENSORS, _card, _card, _known, _spec, _head)
OF_MEMBERS = _of_safetensors(_people, _threshold, _threshold, _embeddings, _embeddings, _head)
# who made the embeddings, and how many numbers they are, is known to those commands alone that are given the body: the
# others neither use nor change it
OF_GALLERY = _of_safetensors(_people, _threshold, _threshold, _embeddings, _embeddings, _head, _maker, _width)
OF_CHECKPOINT = _of_safetensors(*TENSORS, _optimizer, _progress, _progress)
FROM_WEIGHTS = (
    "finetune", "--model", "net.json", "--weights", MODEL, "--data", "images", "--epochs", "1", "--batch-size", "8",
    "--device", "cpu", "--strategy", "head", "--out", "tuned", "--quiet",
)  # fmt: skip
TIMED = (*commands.TRAINING, *commands.TIMED)
READINGS: dict[str, tuple[str, Any, Reading, Callable[[Path], object] | None, float]] = {
    "predict": (".safetensors", OF_MODEL, Reading(MODEL, ("predict", MODEL, "images/test", "--json")), None, 3),
    "predict --out": (".safetensors", OF_MODEL, Reading(MODEL, ("predict", MODEL, "images/test", "--out", "p.csv"),
                      ("p.csv",)), None, 3),
    "evaluate": (".safetensors", OF_MODEL, Reading(MODEL, ("evaluate", MODEL, "--data", "images", "--json")), None, 3),
    "evaluate, its own data": (".safetensors", OF_MODEL_DATA, Reading(MODEL, ("evaluate", MODEL, "--json"),
                               named=" "), None, 1),
    "export torch-export": (".safetensors", OF_MODEL, Reading(MODEL, ("export", MODEL, "--format", "torch-export",
                            "--out", "x.pt2"), ("x.pt2",)), None, 2),
    "export torchvision": (".safetensors", OF_MODEL, Reading(MODEL, ("export", MODEL, "--format", "torchvision",
                           "--out", "x.safetensors"), ("x.safetensors",)), None, 2),
    "export onnx": (".safetensors", OF_MODEL, Reading(MODEL, ("export", MODEL, "--format", "onnx", "--out", "x.onnx")),
                    None, 1),
    "finetune --weights": (".safetensors", OF_MODEL, Reading(MODEL, FROM_WEIGHTS, ("tuned",), TIMED), _other_files, 2),
    "finetune --plan": (".safetensors", OF_MODEL, Reading(MODEL, ("finetune", "--model", "net.json", "--weights", MODEL,
                        "--plan")), _other_files, 1),
    "faces fit --weights": (".safetensors", OF_MODEL, Reading(MODEL, (
        "faces", "fit", "--model", "mbconv_small", "--weights", MODEL, "--data", "people", "--resolution", "24",
        "--epochs", "1", "--people", "3", "--photos", "2", "--dimensions", "8", "--held-out", "0", "--no-crop",
        "--device", "cpu", "--out", "fitted", "--quiet"), ("fitted",), TIMED), None, 1),
    "resume": (".safetensors", OF_CHECKPOINT, Reading("tuned/checkpoint.safetensors", TUNE, ("tuned",), TIMED),
               _half_trained, 2),
    "faces enroll --body": (".safetensors", OF_FACES, Reading("faces.safetensors", (
        "faces", "enroll", "people", *OWN, "--gallery", "new.safetensors"), ("new.safetensors",)), _face_model, 2),
    "faces identify --body": (".safetensors", OF_FACES, Reading("faces.safetensors", (
        "faces", "identify", "photos", *OWN, "--gallery", "own.safetensors", "--json")), _face_model, 2),
    "faces verify --body": (".safetensors", OF_FACES, Reading("faces.safetensors", (
        "faces", "verify", "people/person000/0.png", "people/person001/0.png", *OWN, "--json")), _face_model, 2),
    "faces evaluate --body": (".safetensors", OF_FACES, Reading("faces.safetensors", (
        "faces", "evaluate", "people", *OWN, "--fpir", "0.2", "--json")), _face_model, 2),
    "faces strangers --body": (".safetensors", OF_FACES, Reading("faces.safetensors", (
        "faces", "strangers", "photos", *OWN, "--gallery", "own.safetensors", "--out", "unknown"), ("unknown",)),
        _face_model, 1),
    "faces identify": (".safetensors", OF_GALLERY, Reading("gallery.safetensors", (
        "faces", "identify", "photos", *commands.FACES, *GALLERY, "--json")), None, 3),
    "faces identify, all outputs": (".safetensors", OF_GALLERY, Reading("gallery.safetensors", (
        "faces", "identify", "photos", *commands.FACES, *GALLERY, "--out", "who.csv", "--page", "page.html",
        "--sort-into", "sorted"), ("who.csv", "page.html", "sorted")), None, 2),
    "faces list": (".safetensors", OF_MEMBERS, Reading("gallery.safetensors", ("faces", "list", *GALLERY)), None, 2),
    "faces remove": (".safetensors", OF_MEMBERS, Reading("gallery.safetensors", (
        "faces", "remove", "person001", *GALLERY), ("gallery.safetensors",)), None, 2),
    "faces enroll": (".safetensors", OF_GALLERY, Reading("gallery.safetensors", (
        "faces", "enroll", "people", *commands.FACES, *GALLERY), ("gallery.safetensors",)), None, 2),
    "faces strangers": (".safetensors", OF_GALLERY, Reading("gallery.safetensors", (
        "faces", "strangers", "photos", *commands.FACES, *GALLERY, "--out", "unknown"), ("unknown",)), None, 1),
    "faces enroll --body card": (".toml", of_card, Reading("body/blocks.toml", (
        "faces", "enroll", "people", *commands.FACES, "--gallery", "new.safetensors"), ("new.safetensors",), named=" "),
        None, 1),
    "faces verify --body card": (".toml", of_card, Reading("body/blocks.toml", (
        "faces", "verify", "people/person000/0.png", "people/person001/0.png", *commands.FACES, "--json"), named=" "),
        None, 1),
    "faces evaluate --pairs": (".csv", of_pairs, Reading("pairs.csv", (
        "faces", "evaluate", "people", *commands.FACES, "--pairs", "pairs.csv", "--fpir", "0.2", "--json")),
        _other_files, 1),
    "finetune --model spec": (".json", of_spec, Reading("net.json", (
        "finetune", "--model", "net.json", "--data", "images", "--epochs", "1", "--batch-size", "8", "--device", "cpu",
        "--out", "tuned", "--quiet"), ("tuned",), TIMED), _other_files, 1),
    **{
        f"{name} --space": (
            ".toml", of_space, Reading("mine.toml", (name, "--space", "mine.toml", *more)), _other_files, 1,
        )
        for name, more in (
            ("baseline", ()), ("scale", ("--phi", "2")), ("family", ()),
            ("grid", ("--data", "images", "--target-flops", "1.5M", "--step", "0.5", "--dry-run", "--json")),
        )
    },
}  # fmt: skip
MEANING: dict[str, Target] = {
    f"meaning, {name}": Target(suffix, _file(reading.file, before), mutation, feeder(reading, before), share)
    for name, (suffix, mutation, reading, before, share) in READINGS.items()
}
