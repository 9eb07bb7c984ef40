"""Typed tables for files that people write: every mistake found, none of them fatal to finding the next."""

import difflib
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclass(frozen=True)
class Rule:
    """What one key may hold: ``expected`` is the sentence shown when ``accepts`` says no."""

    expected: str
    accepts: Callable[[Any], bool]
    default: Any = REQUIRED


def integer(low: int, high: int, default: Any = REQUIRED) -> Rule:
    """A whole number from ``low`` to ``high``."""
    expected = f"a whole number from {low} to {high}"
    return Rule(expected, lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, default)


def odd(low: int, high: int, default: Any = REQUIRED) -> Rule:
    """An odd whole number (kernels: an even one has no middle)."""
    inner = integer(low, high)
    return Rule(f"an odd whole number from {low} to {high}", lambda v: inner.accepts(v) and v % 2 == 1, default)


def number(low: float, high: float, default: Any = REQUIRED) -> Rule:
    """A finite number from ``low`` to ``high``."""
    expected = f"a number from {low:g} to {high:g}"
    return Rule(expected, lambda v: _is_number(v) and low <= v <= high, default)


def one_of(*choices: str, default: Any = REQUIRED) -> Rule:
    """One of a few words, or what stands for none of them where that is the default."""
    return Rule("one of " + ", ".join(f'"{c}"' for c in choices), lambda v: v in choices or v == default, default)


def boolean(default: Any = REQUIRED) -> Rule:
    """true or false."""
    return Rule("true or false", lambda v: isinstance(v, bool), default)


def name(default: Any = REQUIRED) -> Rule:
    """A name that can stand in a file's name."""
    expected = "a name of letters, digits, dots, dashes and underscores"
    return Rule(expected, lambda v: isinstance(v, str) and re.fullmatch(r"\w[\w.+-]{0,99}", v) is not None, default)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_table(values: Any, rules: Mapping[str, Rule], where: str, mistakes: list[str]) -> dict[str, Any]:
    """The table with defaults filled in; what is wrong is appended to ``mistakes`` and replaced by its default.

    Args:
        values: what the file holds.
        rules: key → rule.
        where: the table's place in the file, ``""`` at the top, else ``"stages[3]"``.
        mistakes: receives lines like ``stages[3].kernel = 4; expected an odd whole number from 1 to 15``.
    """
    if not isinstance(values, dict):
        mistakes.append(f"{where} = {_show(values)}; expected a table")
        values = {}
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in rules:
            near = difflib.get_close_matches(key[:60], rules, n=1)
            hint = f'did you mean "{near[0]}"?' if near else "known keys: " + ", ".join(rules)
            mistakes.append(f"{prefix}{key[:60]}: unknown key; {hint}")
    checked = {}
    for key, rule in rules.items():
        if key not in values and rule.default is REQUIRED:
            mistakes.append(f"{prefix}{key}: missing; expected {rule.expected}")
        elif key in values and not rule.accepts(values[key]):
            mistakes.append(f"{prefix}{key} = {_show(values[key])}; expected {rule.expected}")
        checked[key] = values.get(key, rule.default)
    return checked


def _show(value: Any) -> str:
    """Short, however long, deep or large it is."""
    if isinstance(value, str):
        shown = f'"{value[:60]}"'
    elif isinstance(value, int) and abs(value) > 10**60:  # Python refuses to write very long numbers
        shown = "a number of more than 60 digits"
    else:
        shown = reprlib.repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
