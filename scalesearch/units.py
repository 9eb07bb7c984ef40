"""The one style of numbers, read and shown: 400M, 1.83G, 20 ms, 61.2 %, 59.8–62.6 %, −0.07."""

import re
from collections.abc import Mapping

from scalesearch.errors import UserError

MINUS = "−"
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
BINARY = {"": 1.0, "k": 2.0**10, "m": 2.0**20, "g": 2.0**30, "t": 2.0**40}
ENDS_SHOWN = 10  # of a long list, at its start and its end
FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}


def parse_flops(text: str, option: str, what: str = "multiply-adds") -> float:
    """Multiply-adds, or ``what`` else, from "400M", "1.8G", "0.39B" or a plain number. Raises UserError naming
    ``option``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)(?:e(\d{1,2}))?\s*([kmgbt]?)(?:flops?|macs?)?\s*", text.lower())
    value = float(match[1]) * 10 ** int(match[2] or 0) * FACTORS[match[3]] if match else 0.0
    if not 0 < value < 1e18:
        raise UserError(option, f'"{text}" is not a number of {what} such as 400M or 1.8G.')
    return value


def show_count(value: float, digits: int = 3) -> str:
    """Some digits and a unit.

    >>> [show_count(value) for value in (385_814_752, 1_827_141_392, 5_288_548, 999_600_000, 1_000_000_000, 999, 12, 0)]
    ['386M', '1.83G', '5.29M', '1G', '1G', '999', '12', '0']
    """
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        scaled = float(f"{value / factor:.{digits}g}")  # rounded first: 999.6M is 1G
        if abs(scaled) >= 1:
            return f"{scaled:.{max(digits, 6)}g}{unit}".replace("-", MINUS)
    return f"{value:.{digits}g}".replace("-", MINUS)


def parse_bytes(text: str, option: str) -> float:
    """Bytes from "50G", "500 MB", "1.5 TiB" or a plain number. Raises UserError naming ``option``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmgt]?)(i?)b?)\s*", text.lower())
    value = float(match[1]) * (BINARY if match[3] else FACTORS)[match[2]] if match else 0.0
    if not 1 <= value < 1e18:
        raise UserError(option, f'"{text}" is not a number of bytes such as 500M or 50G.')
    return value


def show_bytes(value: float) -> str:
    """Some digits and a unit.

    >>> [show_bytes(value) for value in (35_389_000_000, 999_600_000, 12_345, 0)]
    ['35.4 GB', '1 GB', '12.3 kB', '0 B']
    """
    count = show_count(value)
    return f"{count[:-1]} {count[-1]}B" if count[-1].isalpha() else f"{count} B"


def show_number(value: float, style: str = "g") -> str:
    """A number in one of Python's styles, with a real minus sign.

    >>> show_number(-0.07), show_number(0.0123, "+.4f"), show_number(-0.5, "+.1f")
    ('−0.07', '+0.0123', '−0.5')
    """
    return f"{value:{style}}".replace("-", MINUS)


def show_percent(share: float, digits: int = 1, sign: bool = False) -> str:
    """A share as a percentage: 1259 of 2000 is 63.0 %, whatever 0.6295's last binary digit.

    >>> show_percent(1259 / 2000), show_percent(0.0296, sign=True), show_percent(0.9, 0)
    ('63.0 %', '+3.0 %', '90 %')
    """
    return show_number(round(100 * share, 9), f"{'+' if sign else ''}.{digits}f") + " %"


def show_interval(low: float, high: float, digits: int = 1) -> str:
    """An interval of shares.

    >>> show_interval(0.598, 0.626)
    '59.8–62.6 %'
    """
    return f"{show_percent(low, digits).removesuffix(' %')}–{show_percent(high, digits)}"


def counted(number: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "epoch"), counted(18, "epoch"), counted(2, "class")
    ('1 epoch', '18 epochs', '2 classes')
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def list_counts(counts: Mapping[str, int]) -> str:
    """Names with their counts; of many the first and the last ten.

    >>> list_counts({"ant": 2, "cat": 31})
    'ant 2, cat 31'
    """
    shown = [f"{name} {count}" for name, count in counts.items()]
    if len(shown) <= 2 * ENDS_SHOWN:
        return ", ".join(shown)
    rest = f"… {len(shown) - 2 * ENDS_SHOWN} more …"
    return ", ".join([*shown[:ENDS_SHOWN], rest, *shown[-ENDS_SHOWN:]])


def show_seconds(seconds: float) -> str:
    """A time to be expected, in one unit.

    >>> [show_seconds(value) for value in (0.02, 45, 720, 12_240)]
    ['20 ms', '45 s', '12 min', '3.4 h']
    """
    if 0 < seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_duration(seconds: float) -> str:
    """A time that passed, in two units.

    >>> show_duration(42.4), show_duration(754), show_duration(7440)
    ('42 s', '12 min 34 s', '2 h 4 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def show_energy(watt_hours: float) -> str:
    """Watt-hours, or kilowatt-hours from 100 on.

    >>> show_energy(1.75), show_energy(2340)
    ('1.75 Wh', '2.34 kWh')
    """
    return f"{watt_hours:.3g} Wh" if watt_hours < 100 else f"{watt_hours / 1000:.3g} kWh"


def parse_duration(text: str, option: str, expected: str = "a duration such as 90s, 30m or 2h") -> float:
    """Seconds of "20ms", "90s", "30m" or "1.5h". Raises UserError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(us|µs|ms|s|m|min|h)\s*", text)
    if not match or not 0 < float(match[1]) < 1e9:
        raise UserError(option, f'"{text}" is not {expected}.')
    return float(match[1]) * SECONDS[match[2]]


FEW_FACES = 10  # an interval of the rate among fewer says nothing


def let_in_words(faces: int, interval: tuple[float, float]) -> str:
    """How many of so many faces would be taken for members if all were strangers'; "" for a few.

    >>> let_in_words(146, (0.0, 0.048))
    'Were all 146 faces of people who are no members, 0 to 7 of them would be taken for one (95 % interval)'
    """
    if faces < FEW_FACES:
        return ""
    low, high = (round(share * faces) for share in interval)
    return (
        f"Were all {faces} faces of people who are no members, {low} to {high} of them would be taken for one (95 % "
        "interval)"
    )
