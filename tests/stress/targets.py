"""What is fuzzed: for each kind of file valid originals, how they are mutated, and the functions that commands read
them with."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stress import mutate

Feed = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Args:
        suffix: of the file.
        originals: valid contents, made in an empty folder.
        mutation: see ``mutate``.
        feeder: makes, in an empty folder, what reads one file; what it raises is judged by ``fuzz``.
        share: of the campaign, relative to others'.
    """

    suffix: str
    originals: Callable[[Path], Sequence[bytes]]
    mutation: mutate.Mutation
    feeder: Callable[[Path], Feed]
    share: float = 1.0


def _image(folder: Path) -> Feed:
    from scalesearch.data.image import read_rgb, short_side, square

    def feed(path: Path) -> object:
        short_side(str(path))
        return square(read_rgb(str(path), 64), 32)

    return feed


def _folder(folder: Path) -> Feed:
    """A data folder in which one image is bad: listed, decoded, cached, with and without --skip-broken."""
    import numpy as np
    from PIL import Image

    from scalesearch.data.cache import cached, without_broken
    from scalesearch.data.folder import folder_source

    for name in ("a", "b"):
        (folder / "set" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / "set" / name / "0.png")

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "set" / "a" / "bad.png")
        source = folder_source(folder / "set")
        fine = without_broken(source, folder / "cache")
        cached(fine, np.arange(len(fine)), 8, folder / "cache")
        images = cached(source, np.arange(len(source)), 8, folder / "cache")
        shutil.rmtree(folder / "cache")
        return images

    return feed


def _packed(folder: Path) -> Feed:
    """A table of files and labels, or a file that holds images, opened and every image read."""
    from PIL import Image

    from scalesearch.data.paths import source_at
    from scalesearch.data.source import UnreadableImageError

    for name in ("a", "b"):
        Image.new("RGB", (9, 9)).save(folder / f"{name}.png")

    def feed(path: Path) -> object:
        given = shutil.copy(path, folder / f"input{path.suffix}")
        source = source_at(str(given))
        broken: list[UnreadableImageError] = []
        for i in range(len(source)):
            try:
                source.read(i)
            except UnreadableImageError as error:
                broken.append(error)
        if broken:
            raise broken[0]
        return source

    return feed


def _predict(folder: Path) -> Feed:
    """``predict`` on one image."""
    from scalesearch.api.evaluate import predict
    from tests.stress.originals import models

    models(folder)

    def feed(path: Path) -> object:
        return predict(folder / "model.safetensors", path, top=3, batch_size=4, device="cpu")

    return feed


def _space(folder: Path) -> Feed:
    """As ``baseline``, ``grid --dry-run``, ``scale`` and ``family`` take a space."""
    from scalesearch.design.candidates import enumerate_candidates
    from scalesearch.design.cost import cost, part_table
    from scalesearch.design.family import member
    from scalesearch.design.scaling import PAPER, size_baseline
    from scalesearch.design.space import load_space

    def feed(path: Path) -> object:
        space = load_space(str(path))
        part_table(space.baseline, "")
        cost(space.baseline)
        for phi in (3.0, -1.0):
            member(space.baseline, PAPER, phi, "budget")
        return enumerate_candidates(size_baseline(space, 1e7, 10), space.grid)

    return feed


def _spec(folder: Path) -> Feed:
    from scalesearch.design.cost import cost
    from scalesearch.design.family import read_spec

    return lambda path: cost(read_spec(path))


def _model(folder: Path) -> Feed:
    """As ``predict`` and ``export`` open it."""
    from PIL import Image

    from scalesearch.api.evaluate import predict

    Image.new("RGB", (9, 9)).save(folder / "a.png")
    return lambda path: predict(path, folder / "a.png", top=3, batch_size=4, device="cpu")


def _weights(folder: Path) -> Feed:
    """As ``--weights`` opens it: whose tensors they are, and a network that inherits."""
    from scalesearch.nets.inherit import inherit
    from scalesearch.nets.sources import open_weights
    from scalesearch.nets.weights import class_names
    from scalesearch.training.model_file import statistics_of
    from tests.stress.originals import small_spec

    target = small_spec()

    def feed(path: Path) -> object:
        source = open_weights(str(path), target)
        statistics_of(dict(source.metadata))
        class_names(dict(source.metadata))
        return inherit(source.spec, source.state, target, seed=0)

    return feed


def _checkpoint(folder: Path) -> Feed:
    from scalesearch.training.checkpoint import resume
    from tests.stress.originals import training
    from tests.training.toys import STEPS

    return lambda path: resume(path, training(), STEPS)


def _gallery(folder: Path) -> Feed:
    """As ``faces identify``, ``list`` and ``remove`` take it."""
    import numpy as np

    from scalesearch.faces.gallery import load_gallery, remove, search, strangers_as_near

    def feed(path: Path) -> object:
        gallery = load_gallery(path)
        nearest = search(gallery, np.eye(6, dtype=np.float32))
        strangers_as_near(gallery, nearest.distances)
        return remove(gallery, "Bo")

    return feed


def _body(folder: Path) -> Feed:
    """As ``--body`` opens it, with a network of ONNX and a card of it beside it."""
    from scalesearch.faces.bodies import open_body
    from tests.stress.originals import face_cards, face_networks

    (folder / "body.onnx").write_bytes(face_networks(folder)[0])
    (folder / "body.toml").write_bytes(face_cards(folder)[0])

    def feed(path: Path) -> object:
        if path.suffix == ".onnx":
            shutil.copy(path, folder / "body.onnx")
            return open_body(folder / "body.toml")
        return open_body(shutil.copy(path, folder / f"input{path.suffix}"))

    return feed


def _cache(folder: Path) -> Feed:
    """A damaged cache file is noticed and made again."""
    import numpy as np

    from scalesearch.data.arrays import stored
    from tests.stress.originals import CACHE_SHAPE

    def feed(path: Path) -> object:
        pixels = stored(path, CACHE_SHAPE, lambda: [np.ones(CACHE_SHAPE, np.uint8)])
        if pixels.shape != CACHE_SHAPE or pixels.min() != pixels.max():
            raise AssertionError("pixels that nobody wrote")
        return pixels

    return feed


def _run_file(name: str) -> Callable[[Path], Feed]:
    """A run's folder in which one file is bad, as the commands read it: ``report``; ``family``, ``scale --run`` and
    ``finetune`` where it has to do with the coefficients; ``verify`` where it has to do with the answer."""

    def feeder(folder: Path) -> Feed:
        from scalesearch.api.design import choose_scaling
        from scalesearch.design.family import member
        from scalesearch.reports.artefacts import family_members, report_markdown
        from scalesearch.study.record import answered, read_record
        from scalesearch.study.verification import chosen, scaled
        from tests.stress.originals import write_run

        write_run(folder)

        def feed(path: Path) -> object:
            shutil.copy(path, folder / name)
            if name in ("coefficients.json", "run.json"):
                scaling = choose_scaling(folder)
                member(scaling.baseline, scaling.coefficients, 2.0, scaling.rounding)
            record = read_record(folder)
            if name in ("winners.json", "rows.json", "run.json") and record.answer is not None:
                answer, _ = answered(record)
                networks = chosen(answer, record.enumeration.candidates, 2, 2)
                scaled(record.plan, answer, networks, 2.0)
            return report_markdown(record, family_members(record), [])

        return feed

    return feeder


def _run_original(name: str) -> Callable[[Path], Sequence[bytes]]:
    def made(folder: Path) -> Sequence[bytes]:
        from tests.stress.originals import write_run

        return [write_run(folder)[name]]

    return made


def _from(name: str) -> Callable[[Path], Sequence[bytes]]:
    """An original by the name of its function, imported when it is needed."""

    def made(folder: Path) -> Sequence[bytes]:
        from tests.stress import originals

        contents: Sequence[bytes] = getattr(originals, name)(folder)
        return contents

    return made


def _pictures(*suffixes: str) -> Callable[[Path], Sequence[bytes]]:
    def made(folder: Path) -> Sequence[bytes]:
        from tests.stress.originals import pictures

        return [content for suffix in suffixes for content in pictures(suffix)]

    return made


def _spaces(folder: Path) -> Sequence[bytes]:
    from tests.stress.originals import spaces

    return spaces()


IMAGES = (".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".gif", ".avif", ".jp2", ".qoi")
RUN_FILES = (
    "run.json",
    "rows.json",
    "winners.json",
    "coefficients.json",
    "models/b1-glyphs/metrics.json",
    "verify-phi2/verify.json",
)
SAFETENSORS = mutate.either(mutate.of_bytes, mutate.of_safetensors, mutate.of_safetensors)
JSON = mutate.either(mutate.of_bytes, mutate.of_json, mutate.of_json)
ZIP = mutate.either(mutate.of_bytes, mutate.of_zip)
TOML = mutate.either(mutate.of_bytes, mutate.of_toml, mutate.of_toml)


def _hub(folder: Path) -> Feed:
    """As ``--weights FOLDER`` reads what stands beside the weights."""
    from scalesearch.nets.hub import read_hub
    from tests.stress.originals import models

    models(folder)

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "config.json")
        return read_hub(folder)

    return feed


TARGETS: dict[str, Target] = {
    **{f"image {one[1:]}": Target(one, _pictures(one), mutate.of_bytes, _image, 2.0) for one in IMAGES},
    "image png, chunks": Target(".png", _pictures(".png"), mutate.of_png, _image, 2.0),
    "image folder": Target(".png", _pictures(*IMAGES), mutate.of_bytes, _folder, 0.5),
    "table of files": Target(".csv", _from("tables"), mutate.of_bytes, _packed, 0.5),
    "tar shard": Target(".tar", _from("shards"), mutate.of_bytes, _packed),
    "parquet": Target(".parquet", _from("parquets"), mutate.of_bytes, _packed),
    "arrow": Target(".arrow", _from("arrows"), mutate.of_bytes, _packed),
    "predict's image": Target(".png", _pictures(*IMAGES), mutate.of_bytes, _predict, 0.5),
    "space": Target(".toml", _spaces, TOML, _space, 2.0),
    "spec": Target(".json", _from("specs"), JSON, _spec),
    "model": Target(".safetensors", _from("models"), SAFETENSORS, _model),
    "weights, safetensors": Target(".safetensors", _from("foreign_safetensors"), SAFETENSORS, _weights),
    "weights, our model": Target(".safetensors", _from("models"), SAFETENSORS, _weights),
    "hub config": Target(".json", _from("hub_configs"), JSON, _hub),
    "weights, torch": Target(".pt", _from("state_dicts"), ZIP, _weights),
    "weights, old torch": Target(".pth", _from("old_state_dicts"), mutate.of_bytes, _weights),
    "checkpoint": Target(".safetensors", _from("checkpoints"), SAFETENSORS, _checkpoint),
    "gallery": Target(".safetensors", _from("galleries"), SAFETENSORS, _gallery),
    "face model": Target(".safetensors", _from("face_models"), SAFETENSORS, _body),
    "face card": Target(".toml", _from("face_cards"), TOML, _body, 0.5),
    "face network": Target(".onnx", _from("face_networks"), mutate.of_bytes, _body, 0.5),
    "decoded cache": Target(".npy", _from("caches"), mutate.of_bytes, _cache, 0.5),
    **{
        f"run, {Path(name).name}": Target(".json", _run_original(name), JSON, _run_file(name)) for name in RUN_FILES
    },
}  # fmt: skip


def _planted(raises: Callable[[], object]) -> Target:
    return Target(".bin", lambda _: [b"planted"], lambda rng, originals: originals[0], lambda _: lambda path: raises())


def _key_error() -> object:
    raise KeyError("planted")


def _hang() -> object:
    while True:
        time.sleep(0.1)


def _hang_in_c() -> object:
    return pow(3, 10**9)  # one call of C, which no signal handler of Python interrupts


def _three_gigabytes() -> object:
    return bytes(3 << 30)


def _crash() -> object:
    import ctypes

    return ctypes.string_at(0)


PLANTED: dict[str, Target] = {  # defects that the oracle must notice
    "key error": _planted(_key_error),
    "hang": _planted(_hang),
    "hang in C": _planted(_hang_in_c),
    "memory": _planted(_three_gigabytes),
    "crash": _planted(_crash),
}
