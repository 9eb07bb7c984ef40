"""Tar shards, Parquet and Arrow: the same as class folders, read by place, and each mistake."""

import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalesearch.data import packed
from scalesearch.data.cache import cached
from scalesearch.data.dataset import dataset, open_source
from scalesearch.data.folder import folder_source
from scalesearch.data.packed import PackedReader
from scalesearch.data.source import Source
from scalesearch.errors import UserError
from tests.data.pictures import noise, save, tree

Sample = tuple[str, str, str, bytes]  # part, class, name, an image's bytes
Pack = Callable[[Path, Sequence[Sample]], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders with parts, whose images have names that sort as their classes do."""
    return tree(tmp_path / "set", {f"{part}/{name}": 6 for part in ("train", "test") for name in ("ant", "bée", "cat")})


@pytest.fixture(autouse=True)
def _old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test; every file counts as old enough for what it holds to be kept."""
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path / "own cache"))
    monkeypatch.setattr(packed, "SETTLED_NS", -3_600_000_000_000)


def samples(folder: Path) -> list[Sample]:
    source = folder_source(folder)
    paths = [Path(source.describe(i)) for i in range(len(source))]
    return [
        (part, source.classes[label], f"{number:03d}.png", path.read_bytes())
        for number, (part, label, path) in enumerate(zip(source.parts, source.labels, paths, strict=True))
    ]


def of_part(some: Sequence[Sample]) -> dict[str, list[Sample]]:
    return {part: [one for one in some if one[0] == part] for part in dict.fromkeys(one[0] for one in some)}


def tar(path: Path, files: Sequence[tuple[str, bytes]], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def sample_files(some: Sequence[Sample], ending: str = "cls") -> list[tuple[str, bytes]]:
    files = []
    for _, label, name, content in some:
        key = name.partition(".")[0]
        said = json.dumps({"label": label, "width": 20}) if ending == "json" else f"{label}\n"
        files += [(f"{key}.png", content), (f"{key}.{ending}", said.encode())]
    return files


def as_shards(root: Path, some: Sequence[Sample]) -> str:
    for part, those in of_part(some).items():
        for number in range(0, len(those), 7):
            tar(root / f"{part}-{number:06d}.tar", sample_files(those[number : number + 7]))
    return str(root)


def table(some: Sequence[Sample], names: Sequence[str] = ()) -> Any:
    """As ``datasets`` makes it: an image is a struct, a label a number, its names stand in the schema's metadata."""
    pa = pytest.importorskip("pyarrow")
    labels = [names.index(one[1]) if names else one[1] for one in some]
    made = pa.table({
        "image": pa.array([{"bytes": one[3], "path": one[2]} for one in some],
                          pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array(labels, pa.int64() if names else pa.string()),
    })  # fmt: skip
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    said = {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if names else {}
    return made.replace_schema_metadata(said)


NAMES = ("cat", "bée", "ant", "dog")  # not sorted, and one that no image has


def as_hub(root: Path, some: Sequence[Sample]) -> str:
    pq = pytest.importorskip("pyarrow.parquet")
    (root / "data").mkdir(parents=True)
    (root / "README.md").write_text("---\n")
    for part, those in of_part(some).items():
        for number in range(2):
            some_rows = those[: len(those) // 2] if number == 0 else those[len(those) // 2 :]
            pq.write_table(
                table(some_rows, NAMES), root / "data" / f"{part}-{number:05d}-of-00002.parquet", row_group_size=3
            )
    return str(root)


def arrow_file(path: Path, made: Any, indexed: bool = False, compression: str | None = None) -> None:
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_file if indexed else pa.ipc.new_stream
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, make(file, made.schema, options=options) as writer:
        writer.write_table(made, 4)


def as_saved(root: Path, some: Sequence[Sample]) -> str:
    """As ``save_to_disk`` of several parts."""
    for part, those in of_part(some).items():
        arrow_file(root / part / "data-00000-of-00001.arrow", table(those, NAMES))
        arrow_file(root / part / "cache-0123.arrow", table(those[:2], NAMES))
        (root / part / "state.json").write_text(
            json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
        )
        (root / part / "dataset_info.json").write_text("{}")
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(of_part(some))}))
    return str(root)


def as_compressed_arrow(root: Path, some: Sequence[Sample]) -> str:
    for part, those in of_part(some).items():
        arrow_file(root / f"{part}.arrow", table(those), indexed=True, compression="lz4")
    return str(root)


def as_indexed_arrow(root: Path, some: Sequence[Sample]) -> str:
    for part, those in of_part(some).items():
        arrow_file(root / f"set_{part}.arrow", table(those, NAMES), indexed=True)
    return str(root)


PACKS: tuple[Pack, ...] = (as_shards, as_hub, as_saved, as_compressed_arrow, as_indexed_arrow)


def same(one: Source, other: Source) -> None:
    assert one.classes == other.classes
    assert one.labels.tolist() == other.labels.tolist()
    assert one.parts == other.parts
    assert one.native_px == other.native_px
    for i in range(len(one)):
        np.testing.assert_array_equal(np.asarray(one.read(i)), np.asarray(other.read(i)))


@pytest.mark.parametrize("pack", PACKS)
def test_packed_images_give_what_class_folders_give(tmp_path: Path, folder: Path, pack: Pack) -> None:
    source, plain = open_source(pack(tmp_path / "packed", samples(folder))), folder_source(folder)
    same(source, plain)
    assert source.name == "packed"
    mine, theirs = dataset(source, 8), dataset(plain, 8)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(mine, part).indices, getattr(theirs, part).indices)
    np.testing.assert_array_equal(mine.test.at(8).images, theirs.test.at(8).images)
    same(pickle.loads(pickle.dumps(source)), plain)


@pytest.mark.parametrize("pack", PACKS)
def test_what_is_kept_is_used_until_a_file_changes(
    tmp_path: Path, folder: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, some = tmp_path / "packed", samples(folder)
    first = open_source(pack(given, some))
    monkeypatch.setattr(packed, "_gone_through", lambda path, *_: pytest.fail(f"{path} was gone through again"))
    again = open_source(str(given))
    same(again, first)
    assert again.digest == first.digest
    second = np.asarray(first.read(1))
    assert [one for one in again.notes if "copied" not in one] == [one for one in first.notes if "copied" not in one]
    monkeypatch.undo()
    shutil.rmtree(given)
    pack(given, [some[1], some[0], *some[2:]])
    changed = open_source(str(given))
    assert changed.digest != first.digest
    np.testing.assert_array_equal(np.asarray(changed.read(0)), second)


@pytest.mark.parametrize("pack", PACKS)
def test_bytes_that_changed_are_never_decoded(tmp_path: Path, folder: Path, pack: Pack) -> None:
    source = open_source(pack(tmp_path / "packed", samples(folder)))
    assert isinstance(source.reader, PackedReader)
    file, offset, _ = map(int, source.reader.places[5])
    with open(source.reader.files[file], "r+b") as opened:
        opened.seek(offset + 30)
        opened.write(b"\0\1")
    with pytest.raises(UserError, match=r"5|no longer those that were listed"):
        source.read(5)
    source.read(4)


def test_what_is_copied_is_said_and_made_again(tmp_path: Path, folder: Path) -> None:
    given = as_hub(tmp_path / "packed", samples(folder))
    source = open_source(given)
    assert any("were copied to" in note for note in source.notes)
    for copy in (tmp_path / "own cache" / "packed").glob("*.images"):
        copy.write_bytes(b"")
    same(open_source(given), source)
    assert not any("copied" in note for note in open_source(as_saved(tmp_path / "saved", samples(folder))).notes)


def test_no_room_for_a_copy(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = as_hub(tmp_path / "packed", samples(folder))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"have to be copied .* \(SCALESEARCH_CACHE\)"):
        open_source(given)


def test_shards_by_pattern(tmp_path: Path, folder: Path) -> None:
    as_shards(tmp_path / "packed", samples(folder))
    some = open_source(str(tmp_path / "packed" / "{train,test}-0000{00..14}.tar".replace("{00..14}", "{00,07,14}")))
    same(some, folder_source(folder))
    assert some.name == "packed"
    same(open_source(str(tmp_path / "packed" / "t*-*.tar")), some)
    train = open_source(str(tmp_path / "packed" / "train-{000000..000000}.tar"))
    assert (len(train), set(train.parts)) == (7, {"train"})
    one = open_source(str(tmp_path / "packed" / "test-000000.tar"))
    assert (len(one), set(one.parts)) == (7, {""})


@pytest.mark.parametrize("ending", ["cls", "txt", "json"])
def test_labels_of_shards(tmp_path: Path, folder: Path, ending: str) -> None:
    path = tar(tmp_path / "s" / "a.tar", sample_files(samples(folder), ending))
    assert open_source(str(path)).classes == ("ant", "bée", "cat")


def test_numbers_of_classes_and_their_names(tmp_path: Path, folder: Path) -> None:
    numbered = [(part, str(("ant", "bée", "cat").index(label) * 9), *rest) for part, label, *rest in samples(folder)]
    given = tar(tmp_path / "s" / "a.tar", sample_files(numbered)).parent  # type: ignore[arg-type]
    assert open_source(str(given)).classes == ("0", "18", "9")
    names = [f"n{number}" for number in range(19)]
    (given / "classes.txt").write_text("\n".join(names) + "\n")
    assert open_source(str(given)).classes == ("n0", "n18", "n9")
    (given / "classes.txt").write_text("\n".join(names[:18]))
    with pytest.raises(UserError, match=r"'18' .* is not the number of one of 18 class names"):
        open_source(str(given))
    (given / "classes.txt").write_text("a\na\n")
    with pytest.raises(UserError, match="'a' should be the name of one class"):
        open_source(str(given))


def test_what_shards_hold_besides_is_said(tmp_path: Path, folder: Path) -> None:
    files = sample_files(samples(folder))
    more = [("._000.png", b"x"), ("__MACOSX/x.png", b"x"), ("more.npy", b"x"), ("raw.psd", b"8BPS"), ("LICENSE", b"x")]
    source = open_source(str(tar(tmp_path / "s" / "a.tar", [*more, *files, ("000.txt", b"late")])))
    assert len(source) == 36
    assert source.notes == (
        "1 picture of kinds not read here left out (.psd 1): a.tar/raw.psd",
        "3 files with other endings left out (.npy 1, without an ending 1, .txt 1): a.tar/more.npy, a.tar/LICENSE, "
        "a.tar/000.txt",
        "left out as hidden: 2 (a.tar/._000.png, a.tar/__MACOSX/x.png)",
    )


PNG = noise(0)


def png(seed: int) -> bytes:
    out = io.BytesIO()
    noise(seed).save(out, "PNG")
    return out.getvalue()


def good(count: int = 4) -> list[tuple[str, bytes]]:
    return sample_files([("", "xy"[i % 2], f"{i}.png", png(i)) for i in range(count)])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "there is no image in 1 file"),
        ([("a.npy", b"x")], r"there is no image in 1 file\(s\) \(1 file with other endings left out \(.npy 1\)"),
        ([*good(), ("z.png", png(9))], r"1 of 5 images have no label \(.*z.png\)"),
        ([*good(), ("z.png", png(9)), ("z.cls", b" \n")], "1 of 5 images have no label"),
        ([*good(), ("z.png", png(9)), ("z.json", b'{"caption": "x"}')], "1 of 5 images have no label"),
        ([*good(), ("z.png", png(9)), ("z.json", b'{"label": 1, "class": 2}')], "'label' and 'class' could each"),
        ([*good(), ("z.png", png(9)), ("z.json", b"{")], "z.json is not JSON"),
        ([*good(), ("z.png", png(9)), ("z.cls", b"\xff")], "z.cls is not text in UTF-8"),
        ([*good(), ("z.png", png(9)), ("z.txt", b"a cat\non a mat")], "z.txt holds several lines"),
        ([*good(), ("z.png", png(9)), ("z.seg.png", png(8)), ("z.cls", b"x")], r"two images \(z.png and z.seg.png\)"),
        (good(1), "only one class"),
    ],
)  # fmt: skip
def test_mistakes_in_shards(tmp_path: Path, files: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_source(str(tar(tmp_path / "s" / "a.tar", files)))


def test_shards_that_are_damaged(tmp_path: Path) -> None:
    whole = tar(tmp_path / "s" / "a.tar", good()).read_bytes()
    path = tmp_path / "s" / "a.tar"
    end = len(whole.rstrip(b"\0"))
    header = whole.index(b"2.png")
    for content, message in (
        (whole[: header + 700], "cut off|damaged"),
        (whole[: header + 100], "cut off"),
        (whole[: -(-end // 512) * 512], "its end mark is missing"),
        (whole[: header + 3] + b"\xff" + whole[header + 4 :], "damaged"),
        (whole + whole, "more follows after the end mark"),
        (b"", "damaged"),
        (b"no tar at all" * 100, "damaged"),
        (whole[:header] + b"\0" * 100, "cut off"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            open_source(str(path))
    path.write_bytes(whole)
    assert len(open_source(str(path))) == 4


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_compressed_shards_are_refused(tmp_path: Path, mode: str) -> None:
    path = tar(tmp_path / "s" / f"train.tar.{mode}", good(), f"w:{mode}")
    for given in (path, path.parent):
        with pytest.raises(UserError, match=r"it is compressed \(.*Uncompress it"):
            open_source(str(given))


def test_links_and_folders_in_shards_lead_nowhere(tmp_path: Path) -> None:
    path = tar(tmp_path / "s" / "a.tar", good())
    with tarfile.open(path, "a") as archive:
        for name, kind, target in (("z.png", tarfile.SYMTYPE, "/etc/passwd"), ("y.png", tarfile.LNKTYPE, "0.png")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    assert len(open_source(str(path))) == 4


def test_which_files_make_a_set(tmp_path: Path, folder: Path) -> None:
    some = samples(folder)
    as_shards(tmp_path / "two", some)
    as_hub(tmp_path / "two", some)
    with pytest.raises(UserError, match="files of several kinds"):
        open_source(str(tmp_path / "two"))
    for name in ("small", "large"):
        as_shards(tmp_path / "configs" / name, some)
    with pytest.raises(UserError, match=r"the part test lie in several folders \(large, small\)"):
        open_source(str(tmp_path / "configs"))
    tar(tmp_path / "odd" / "train-test.tar", good())
    with pytest.raises(UserError, match="could be of two parts"):
        open_source(str(tmp_path / "odd"))
    tar(tmp_path / "half" / "train.tar", good())
    tar(tmp_path / "half" / "extra.tar", good())
    with pytest.raises(UserError, match=r"4 images are of no part .*, the others are"):
        open_source(str(tmp_path / "half"))
    tar(folder / "original.tar", good())
    assert isinstance(open_source(str(folder)).labels, np.ndarray)
    assert not isinstance(open_source(str(folder)).reader, PackedReader)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("train-{000000..000003}.tar", r"3 of 4 files are not there \(.*train-000001.tar"),
        ("none-*.tar", "no file is of this pattern"), ("*.txt", "files of other kinds"),
        ("x-{0..999999}.tar", "more than 100000 files"), ("{a}{0..99999}{0..99999}.tar", "more than 100000 files"),
    ],
)  # fmt: skip
def test_patterns_that_fail(tmp_path: Path, pattern: str, message: str) -> None:
    tar(tmp_path / "train-000000.tar", good())
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / pattern))


def test_broken_images_in_packed_files_are_named(tmp_path: Path) -> None:
    source = open_source(str(tar(tmp_path / "a.tar", [*good(), ("z.png", b"no image"), ("z.cls", b"x")])))
    with pytest.raises(UserError, match=r"1 of 5 cannot be decoded: .*a.tar: z.png: not an image"):
        cached(source, np.arange(5), 8, tmp_path / "cache")


def test_parquet_with_columns_of_its_own(tmp_path: Path, folder: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    some = samples(folder)
    made = pa.table({
        "id": list(range(36)), "img": [one[3] for one in some], "category": [one[1] for one in some],
        "split": pa.array([one[0] for one in some]).dictionary_encode(),
    })  # fmt: skip
    pq.write_table(made, tmp_path / "all.parquet")
    same(open_source(str(tmp_path / "all.parquet")), folder_source(folder))


def test_parquet_of_files_and_labels(tmp_path: Path, folder: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    plain = folder_source(folder)
    files = [os.path.relpath(plain.describe(i), folder) for i in range(len(plain))]
    made = pa.table({"path": files, "label": plain.labels, "split": list(plain.parts)})
    features = {"label": {"names": list(plain.classes), "_type": "ClassLabel"}}
    made = made.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    pq.write_table(made, folder / "labels.parquet")
    same(open_source(str(folder / "labels.parquet")), plain)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"x", b"y"]}, "no column is known to hold the label; there are none"),
        ({"image": [b"x", b"y"], "fine_label": [1, 2], "label": [1, 2], "labels": [1, 2]}, "could each hold the label"),
        ({"left": [b"x", b"y"], "right": [b"x", b"y"], "label": [1, 2]}, "known to hold images; there are left"),
        ({"image": [b"x", b"y"], "label": [1.5, 2.0]}, "words or whole numbers, not double"),
        ({"image": [b"x", None], "label": [1, 2]}, "row 1 holds no image"),
        ({"image": [b"x", b"y"], "label": [1, None]}, r"1 of 2 images have no label \(.*row 1\)"),
        ({"number": [1.0, 2.0], "label": [1, 2]}, "no column is known to hold the image's file"),
    ],
)  # fmt: skip
def test_mistakes_in_parquet(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / "a.parquet"))


def test_class_numbers_without_a_name_and_none(tmp_path: Path, folder: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    some, path = samples(folder), tmp_path / "a.parquet"
    made = table(some, NAMES)
    for value, message in (
        (7, "the label 7 is not the number of one of 4 class names"),
        (-1, "1 of 36 images have no label"),
    ):
        wrong = made.set_column(1, "label", [[value, *made["label"].to_pylist()[1:]]])
        pq.write_table(wrong.replace_schema_metadata(made.schema.metadata), path)
        with pytest.raises(UserError, match=message):
            open_source(str(path))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_files_that_are_neither(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow")
    for content in (b"", b"PAR1 no such thing PAR1", b"ARROW1\0\0 no such thing"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="the file cannot be read"):
            open_source(str(tmp_path / name))


def test_without_pyarrow(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = as_hub(tmp_path / "packed", samples(folder))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pip install 'scalesearch\[parquet\]'"):
        open_source(given)


def test_image_folders_with_metadata(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "set" / f"{number}.png", noise(number))
    (tmp_path / "set" / "metadata.csv").write_text(
        "file_name,label\n" + "".join(f"{n}.png,{'xy'[n % 2]}\n" for n in range(4))
    )
    source = open_source(str(tmp_path / "set"))
    assert (source.classes, source.labels.tolist()) == (("x", "y"), [0, 0, 1, 1])


def test_other_files_say_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"a kind that is not read as images \(.zip\)"):
        open_source(str(tmp_path / "a.zip"))
