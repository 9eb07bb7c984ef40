"""Plain values, as JSON holds them, made into the dataclasses that declare them: one reader with one kind of error.

What a field may hold follows from its type: numbers, text, truth values, ``Literal``, ``None`` and unions of them,
tuples and sequences (lists in JSON), mappings of text, other dataclasses. A whole number may stand for a float and
stays one, so that what is written again is the same; a truth value is no number; no number is infinite or NaN.

``parse`` reads what a program wrote and stops at the first mistake. ``check_table`` reads what a person wrote: it holds
tables against the rules that a dataclass's annotations state, and finds every mistake.
"""

import dataclasses
import difflib
import functools
import math
import re
import reprlib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from scalesearch.errors import SpaceError, UserError

Value = TypeVar("Value")
PLAIN = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Path: "a path",
}
MOST_SHOWN = 60  # characters of a value in a message


class _MismatchError(Exception):
    """What does not fit at ``place``, which grows on the way out, innermost name first: the end of a sentence."""

    def __init__(self, problem: str, place: str = "", cause: UserError | None = None) -> None:
        self.problem, self.place, self.cause = problem, place, cause

    def inside(self, outer: str) -> "_MismatchError":
        joint = "" if not self.place or self.place.startswith("[") else "."
        return _MismatchError(self.problem, f"{outer}{joint}{self.place}", self.cause)


def _mismatch(value: Any, kind: Any) -> _MismatchError:
    return _MismatchError(f"should have {_expected(kind)} here, not {shown(value)}")


def parse(cls: type[Value], values: Any, where: str, what: str, extra: bool = False) -> Value:
    """A value of the dataclass ``cls`` from plain values, with defaults for what is left out.

    Dataclasses inside it that have a ``from_dict`` are made by that; ``cls`` itself is read field by field, so that its
    own ``from_dict`` may call this. A ``__post_init__`` that raises ValueError or UserError refuses a combination.

    Args:
        values: what was read, usually a dict.
        where: the file or other place that they are from, for the message.
        what: what should be there, such as "the answer of a search".
        extra: allow keys that no field has, here and in dataclasses inside, and leave them out.

    Raises:
        UserError: naming the place and the field, and saying what should be there and what is.
    """
    try:
        value: Value = _fields(cls, values, extra)
        return value
    except _MismatchError as error:
        place = f"{where}: {error.place}" if error.place else where
        if isinstance(error.cause, SpaceError):
            raise SpaceError(place, error.cause.mistakes) from None
        if error.cause is not None:
            raise UserError(f"{place}: {error.cause.where}", error.cause.problem, do=error.cause.do) from None
        raise UserError(place, f"{what} {error.problem}.") from None


def shown(value: Any) -> str:
    """A value for a message: short, however long, deep or large it is."""
    if isinstance(value, str):
        text = f'"{value[:MOST_SHOWN]}"'
    elif isinstance(value, int) and abs(value) > 10**MOST_SHOWN:  # Python refuses to write very long numbers
        text = f"a number of more than {MOST_SHOWN} digits"
    elif isinstance(value, Mapping):
        text = f"a table of {len(value)} values"
    else:
        text = {"None": "null", "True": "true", "False": "false"}.get(repr(value)[:6]) or reprlib.repr(value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


@functools.cache
def _declared(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    """(name, type, whether it must be given) of each field that a constructor takes."""
    hints = get_type_hints(cls)
    nothing = dataclasses.MISSING
    return tuple(
        (field.name, hints[field.name], field.default is nothing and field.default_factory is nothing)
        for field in dataclasses.fields(cls)
        if field.init
    )


def _fields(cls: Any, values: Any, extra: bool) -> Any:
    declared = _declared(cls)
    names = ", ".join(name for name, _, _ in declared)
    if not isinstance(values, Mapping):
        raise _MismatchError(f"should have a table with {names} here, not {shown(values)}")
    given: dict[str, Any] = {}
    for name, kind, required in declared:
        if name in values:
            given[name] = _inside(name, values[name], kind, extra)
        elif required:
            raise _MismatchError(f"should have {_expected(kind)} here, but the field is missing", name)
    if not extra and len(given) < len(values):
        odd = next(str(name) for name in values if name not in given)
        raise _MismatchError(f"should have no such field, only {names}", odd[:MOST_SHOWN])
    return _made(cls, given)


def _made(make: Any, given: Any) -> Any:
    """A value that its class may refuse."""
    try:
        return make(given) if isinstance(make, types.MethodType) else make(**given)
    except UserError as error:
        raise _MismatchError("", cause=error) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _MismatchError(f"should have values that go together ({error})") from None


def _inside(name: str, value: Any, kind: Any, extra: bool) -> Any:
    try:
        return _value(value, kind, extra)
    except _MismatchError as error:
        raise error.inside(name) from None


def _value(value: Any, kind: Any, extra: bool) -> Any:
    """The value as ``kind`` declares it. Raises _MismatchError."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in PLAIN or origin is Literal:
        choices = any(value == one and type(value) is type(one) for one in inner)
        if not (_is_plain(value, kind) if kind in PLAIN else choices):
            raise _mismatch(value, kind)
        return Path(value) if kind is Path else value
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _either(value, kind, extra)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        own: Any = getattr(kind, "from_dict", None)
        return _made(own, value) if own else _fields(kind, value, extra)
    if origin in (tuple, list, Sequence):
        return _listed(value, kind, extra)
    if (origin or kind) in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise _mismatch(value, kind)
        return {name: _inside(name, one, inner[1] if inner else Any, extra) for name, one in value.items()}
    raise TypeError(f"no value of JSON can be a {kind}")


def _is_plain(value: Any, kind: type) -> bool:
    if kind is int or kind is float:
        number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        return number and (isinstance(value, int) or math.isfinite(value))
    return isinstance(value, (str, Path) if kind is Path else kind)


def _either(value: Any, union: Any, extra: bool) -> Any:
    """A value of the first type that takes it; the complaint is of the one that is meant, where that is plain."""
    kinds, complaints = get_args(union), []
    for kind in kinds:
        try:
            return _value(value, kind, extra)
        except _MismatchError as error:
            complaints.append(error)
    meant = [one for one, kind in zip(complaints, kinds, strict=True) if one.place or one.cause]
    if len(meant) == 1:
        raise meant[0]
    raise _mismatch(value, union)


def _listed(value: Any, kind: Any, extra: bool) -> Any:
    inner = get_args(kind)
    if not isinstance(value, list | tuple):
        raise _mismatch(value, kind)
    fixed = get_origin(kind) is tuple and not (len(inner) == 2 and inner[1] is Ellipsis)
    if fixed and len(value) != len(inner):
        raise _MismatchError(f"should have {_expected(kind)} here, not of {len(value)}")
    kinds = inner if fixed else [inner[0]] * len(value)
    items = (_inside(f"[{i}]", one, of, extra) for i, (one, of) in enumerate(zip(value, kinds, strict=True)))
    return list(items) if get_origin(kind) is list else tuple(items)


def _expected(kind: Any) -> str:
    """What a type asks for, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if origin in (Union, types.UnionType):
        return " or ".join(map(_expected, inner))
    if origin is Literal:
        return " or ".join(map(shown, inner))
    if origin in (tuple, list, Sequence):
        fixed = origin is tuple and Ellipsis not in inner
        return f"a list of {len(inner)} values" if fixed else "a list"
    return "a table of values"


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclass(frozen=True)
class Rule:
    """What one key may hold: where ``accepts`` says no, a message says that the value is not ``expected``.

    In the annotation of a field (``Annotated[int, integer(1, 8)]``); the default is the field's.
    """

    expected: str
    accepts: Callable[[Any], bool]
    default: Any = REQUIRED


TABLE = Rule("a table", lambda value: True, default=None)
NAME = Rule(
    "a name of letters, digits, dots, dashes and underscores",
    lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.+-]{0,99}", value) is not None,
)


def integer(low: int, high: int) -> Rule:
    """A whole number from ``low`` to ``high``."""
    return Rule(f"a whole number from {low} to {high}", lambda v: _is_plain(v, int) and low <= v <= high)


def odd(low: int, high: int) -> Rule:
    """An odd whole number (kernels: an even one has no middle)."""
    return Rule(
        f"an odd whole number from {low} to {high}", lambda v: _is_plain(v, int) and low <= v <= high and v % 2 == 1
    )


def number(low: float, high: float) -> Rule:
    """A finite number from ``low`` to ``high``."""
    return Rule(f"a number from {low:g} to {high:g}", lambda v: _is_plain(v, float) and low <= v <= high)


@functools.cache
def rules(cls: type) -> dict[str, Rule]:
    """The rule of each field of a dataclass: as annotated, or by its type; parts that are tables pass here."""
    hints: dict[str, Any] = get_type_hints(cls, include_extras=True)
    known = {}
    for field in dataclasses.fields(cls):
        rule = _rule(hints[field.name])
        given = rule is TABLE or field.default is dataclasses.MISSING
        known[field.name] = rule if given else dataclasses.replace(rule, default=field.default)
    return known


def _rule(kind: Any) -> Rule:
    if get_origin(kind) is Annotated:
        return next(extra for extra in get_args(kind)[1:] if isinstance(extra, Rule))
    inner = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    choices = [choice for one in inner if get_origin(one) is Literal for choice in get_args(one)]
    if choices:
        said = "one of " + ", ".join(map(shown, choices))
        return Rule(said, lambda v: v in choices or (v is None and type(None) in inner))
    return Rule("true or false", lambda v: isinstance(v, bool)) if kind is bool else TABLE


def check_table(values: Any, known: Mapping[str, Rule], where: str, mistakes: list[str]) -> dict[str, Any]:
    """The table with defaults filled in; what is wrong is appended to ``mistakes`` and replaced by its default.

    Args:
        values: what the file holds; None for an empty table.
        known: key → rule.
        where: the table's place in the file, ``""`` at the top, else ``"stages[3]"``.
        mistakes: receives lines like ``stages[3].kernel: 4 is not an odd whole number from 1 to 15.``
    """
    if not isinstance(values, dict):
        if values is not None:
            mistakes.append(f"{where}: {shown(values)} is not a table.".removeprefix(": "))
        values = {}
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key[:MOST_SHOWN], known, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"The keys are {', '.join(known)}."
            mistakes.append(f"{prefix}{key[:MOST_SHOWN]}: there is no such key. {hint}")
    checked = {}
    for key, rule in known.items():
        if key not in values and rule.default is REQUIRED:
            mistakes.append(f"{prefix}{key} is missing; it must be {rule.expected}.")
        elif key in values and not rule.accepts(values[key]):
            mistakes.append(f"{prefix}{key}: {shown(values[key])} is not {rule.expected}.")
        checked[key] = values.get(key, rule.default)
    return checked


def check_tables(
    values: Any, known: Callable[[Any], Mapping[str, Rule]], where: str, mistakes: list[str], most: int
) -> list[dict[str, Any]]:
    """A list of at most ``most`` tables, each held against the rules that it is ``known`` to follow."""
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        mistakes.append(f"{where}: {shown(values)} is not a list of [[{where}]] tables.")
        return []
    if len(values) > most:
        mistakes.append(f"{where}: {len(values)} tables are more than {most}.")
        return []
    return [check_table(row, known(row), f"{where}[{index}]", mistakes) for index, row in enumerate(values)]
