"""Values read from files held against the types that their dataclasses declare."""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def mistyped(value: Any, where: str = "") -> str:
    """The first field of a dataclass, or of one in it, that does not hold what it declares, as "field: what is there";
    empty where all do. A whole number may stand for a float; neither may be infinite or no number."""
    hints = get_type_hints(type(value))
    for field in dataclasses.fields(value):
        found = _odd(getattr(value, field.name), hints[field.name], f"{where}{field.name}")
        if found:
            return found
    return ""


def _odd(value: Any, kind: Any, where: str) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        tried = [_odd(value, one, where) for one in inner]
        return "" if "" in tried else tried[0]
    if origin is Literal:
        return "" if value in inner else f"{where}: {value!r:.60}"
    if origin is tuple:
        return _odd_tuple(value, inner, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, kind):
        return mistyped(value, f"{where}.")
    if kind is float or kind is int:
        number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        return "" if number and abs(value) < math.inf else f"{where}: {type(value).__name__}, no number"
    plain = origin or kind
    if plain in (Any, Mapping, Sequence) or not isinstance(plain, type):
        return ""
    return "" if isinstance(value, plain) else f"{where}: {type(value).__name__}"


def _odd_tuple(value: Any, inner: tuple[Any, ...], where: str) -> str:
    if not isinstance(value, tuple):
        return f"{where}: {type(value).__name__}"
    kinds = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
    if len(kinds) != len(value):
        return f"{where}: {len(value)} values"
    return next(
        (found for number, pair in enumerate(zip(value, kinds, strict=True))
         if (found := _odd(*pair, f"{where}[{number}]"))), ""
    )  # fmt: skip
