"""Files made bad: what a mutation does depends on the random state it is given alone, so a seed names an input."""

import copy
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Mutation = Callable[[random.Random, Sequence[bytes]], bytes]

LARGEST = 1 << 20  # bytes: mutations do not grow a file beyond it
HUGE = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
MOST_ITEMS = 3000  # of a list that is repeated
WORDS = (b"nan", b"inf", b"-1", b"1e308", b"99999999999999999999", b"\x00", b"\xff\xff\xff\xff", b"\x1b[2J", b"../")
EXTREMES: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 255, 4096, 10**6, 2**31, 2**63, 10**30, 10**400, 0.5, -0.5, 1e-300, 1e308, -1e308, float("nan"),
    float("inf"), float("-inf"), True, False, None, "", "x", "nan", "1e9", "a" * 3000, "\x1b[31m", "new\nline",
    "é", "\ud800",    [], {}, [[]], [None], {"": 0}, [1e308, -1e308, float("nan")], "../../etc/passwd", "/dev/zero",
)  # fmt: skip


def of_bytes(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """One to six blind changes of a valid file."""
    content = rng.choice(originals)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        content = rng.choice(BLIND)(rng, content, originals)[:LARGEST]
    return content


def _place(rng: random.Random, content: bytes | bytearray) -> int:
    """Headers are short and matter most: half of all changes are in the first 128 bytes."""
    return rng.randrange(min(len(content), 128) if rng.random() < 0.5 else len(content)) if content else 0


def _flip(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 4, 32))):
        changed[_place(rng, changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    added = rng.choice(WORDS) if rng.random() < 0.5 else rng.randbytes(rng.choice((1, 2, 4, 100)))
    return content[:place] + added + content[place:]


def _delete(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    place = _place(rng, content)
    return content[:place] + content[place + rng.choice((1, 2, 4, 16, 200)) :]


def _truncate(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _splice(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    other = rng.choice(originals)
    return content[: _place(rng, content)] + other[_place(rng, other) :]


def _repeat(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    place, size = _place(rng, content), rng.choice((1, 8, 64, 1024))
    return content[:place] + content[place : place + size] * rng.choice((2, 10, 300)) + content[place + size :]


def _number(rng: random.Random, content: bytes, originals: Sequence[bytes]) -> bytes:
    """A length field, a count or a size made extreme."""
    layout = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    place, size = _place(rng, content), struct.calcsize(layout)
    value = rng.choice(HUGE) & ((1 << (8 * size)) - 1)
    return content[:place] + struct.pack(layout, value) + content[place + size :]


BLIND: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _insert, _delete, _truncate, _splice, _repeat, _number, _number,
)  # fmt: skip


def of_png(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A PNG whose chunks are changed and carry right checksums again, so that decoders look inside."""
    content = rng.choice(originals)
    chunks, place = [], 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    number = rng.randrange(len(chunks))
    kind, data = chunks[number]
    way = rng.random()
    if way < 0.7:
        chunks[number] = (kind, of_bytes(rng, [data, chunks[0][1]]))
    elif way < 0.85:
        chunks.insert(
            rng.randrange(len(chunks)), (rng.choice((kind, b"iCCP", b"zTXt", b"acTL", b"fcTL", b"tRNS")), data)
        )
    else:
        del chunks[number]
    parts = [
        len(d).to_bytes(4, "big") + k + d + zlib.crc32(k + d).to_bytes(4, "big") for k, d in chunks
    ]  # fmt: skip
    return content[:8] + b"".join(parts)


def of_json(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """Values of a JSON document replaced by others, keys dropped or doubled, or nested deeply."""
    text = rng.choice(originals).decode()
    if rng.random() < 0.04:
        depth = rng.choice((50, 2000, 100_000))
        return b"[" * depth + b"]" * rng.choice((0, depth))
    return json.dumps(tree(rng, json.loads(text))).encode("utf-8", "surrogatepass")


def tree(rng: random.Random, values: Any) -> Any:
    """A copy of plain values with one to five changes at random places."""
    root = [json.loads(json.dumps(values))]
    for number in range(rng.choice((1, 1, 1, 2, 5))):
        holder, key = _somewhere(rng, root)
        _change(rng, holder, key, repeats=number == 0)
    return root[0]


def _somewhere(rng: random.Random, root: Any) -> tuple[Any, Any]:
    """A holder and a key or place in it: down from the root, often to the bottom."""
    holder, key = root, 0
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.93:
        holder = holder[key]
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    return holder, key


def _change(rng: random.Random, holder: Any, key: Any, *, repeats: bool) -> None:
    way, value = rng.random(), holder[key]
    if way < 0.15 and isinstance(holder, dict):
        del holder[key]
    elif way < 0.2 and isinstance(holder, dict):
        holder[rng.choice(("surprise", "__class__", "", "name", "\x1b[31m"))] = value
    elif way < 0.3 and isinstance(value, list) and value and repeats:
        holder[key] = (value * rng.choice((0, 2, 1000)))[:MOST_ITEMS]
    elif way < 0.5 and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        holder[key] = value * rng.choice((-1, 0, 2, 1000, 10**9)) + rng.choice((0, 1, 0.5))
    elif way < 0.55:
        nested: Any = value
        for _ in range(rng.choice((1, 30, 200))):
            nested = [nested]
        holder[key] = nested
    else:
        holder[key] = copy.deepcopy(rng.choice(EXTREMES))  # the next change may be inside it


def of_toml(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A space with absurd values, wrong types, missing and repeated keys; lines shuffled; very long or very deep."""
    import tomllib

    text = rng.choice(originals).decode()
    way = rng.random()
    if way < 0.7:
        values = tree(rng, tomllib.loads(text))
        return _toml(values if isinstance(values, dict) else {"stages": values}).encode("utf-8", "surrogatepass")
    lines = text.splitlines()
    place = rng.randrange(len(lines))
    if way < 0.8:
        lines.insert(place, rng.choice(lines))
    elif way < 0.9:
        lines[place] = lines[place].partition("=")[0] + "= " + rng.choice(TOML_TEXTS)
    else:
        lines.insert(place, rng.choice(TOML_LINES))
    return "\n".join(lines).encode()


TOML_TEXTS = (
    "nan", "-inf", "1e400", "9" * 5000, "0x" + "f" * 9000, "[" * 3000, "{a=" * 2000, "1979-05-27T07:32:00Z",
    "'\x7f'", "1_0",
)  # fmt: skip
TOML_LINES = (
    "a" + ".a" * 8_000 + " = 1", "[" + "b." * 5000 + "b]", "[[stages]]", "[stages]", "stages = 1",
    "x = " + "[" * 900 + "]" * 900,
    "[[stages]]\nwidth = 8\ndepth = 2\n" * 2000, "k = '''" + "z" * 100_000 + "'''",
)  # fmt: skip


def _toml(values: dict[str, Any]) -> str:
    """Plain values as TOML, inline; None has no form there and is written as it is read nowhere."""
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    return json.dumps(key)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return (
        {True: "true", False: "false", None: "none"}[value] if value is None or isinstance(value, bool) else repr(value)
    )


def of_safetensors(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A header with other shapes, offsets, types or metadata, and the tensors as they were."""
    content = rng.choice(originals)
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    metadata = header.get("__metadata__", {})
    if metadata and rng.random() < 0.6:
        key = rng.choice(sorted(metadata))
        metadata[key] = _metadata_value(rng, metadata[key])
    else:
        names = [name for name in header if name != "__metadata__"]
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 3)))):
            _tensor_entry(rng, header, name)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    declared = len(text) if rng.random() < 0.95 else rng.choice(HUGE)
    return declared.to_bytes(8, "little") + text + body


def _metadata_value(rng: random.Random, value: str) -> Any:
    """Metadata are strings, most of them JSON."""
    try:
        inner = json.loads(value)
    except ValueError:
        return rng.choice(("", "1", "2", "²", "9" * 5000, "scalesearch-network", "\x1b[31m", None, 3, [], {}))
    if rng.random() < 0.1:
        return rng.choice(("", "null", "NaN", "[" * 5000, "9" * 5000, "{}", "[]", '"x"'))
    return json.dumps(tree(rng, inner))


def _tensor_entry(rng: random.Random, header: dict[str, Any], name: str) -> None:
    entry, way = header[name], rng.randrange(8)
    if way == 0:
        del header[name]
    elif way == 1:
        header[rng.choice((name + ".x", "", "features.0.0.weight", "\x1b[31m", "optimizer.0."))] = header.pop(name)
    elif way == 2:
        entry["dtype"] = rng.choice(("F16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "BF16", "C64", "F4", "X", 3))
    elif way == 3:
        entry["data_offsets"] = rng.choice(([0, 1 << 62], [5, 1], [-1, 4], [0, 0], [], "x"))
    elif way == 4:
        entry["shape"] = list(reversed(entry["shape"]))
    elif way == 5:
        entry["shape"] = [1, *entry["shape"], 1]
    elif way == 6:
        entry["shape"] = [_product(entry["shape"])]
    else:
        entry["shape"] = rng.choice(([], [1 << 40], [1 << 33, 1 << 33], [0], [-1], "x", [1.5], [10**30]))


def _product(shape: list[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def of_zip(rng: random.Random, originals: Sequence[bytes]) -> bytes:
    """A zip file (``.pt``, ``.npz``) whose entries are changed inside, dropped, doubled, or deflated to little."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(rng.choice(originals))) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    chosen = rng.choice(sorted(entries))
    way = rng.randrange(5)
    if way == 0:
        del entries[chosen]
    elif way == 1:
        entries[chosen] = b"\0" * rng.choice((10, 10**6, 3 * 10**7))
    elif way == 2:
        entries[rng.choice(sorted(entries))] = entries[chosen]
    else:
        entries[chosen] = of_bytes(rng, [entries[chosen]])
    with zipfile.ZipFile(written, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as new:
        for name, content in entries.items():
            new.writestr(zipfile.ZipInfo(name), content, compress_type=new.compression)
    return written.getvalue()


def either(*mutations: Mutation) -> Mutation:
    """One of them, each as often as the others."""

    def chosen(rng: random.Random, originals: Sequence[bytes]) -> bytes:
        return rng.choice(mutations)(rng, originals)

    return chosen
