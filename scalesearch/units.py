"""Numbers as people write them: 400M, 1.8G, 20ms."""

import re

from scalesearch.errors import UserError

SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}


def parse_flops(text: str, option: str) -> float:
    """Multiply-adds from "400M", "1.8G", "0.39B" or a plain number. Raises UserError naming ``option``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)(?:e(\d{1,2}))?\s*([kmgbt]?)(?:flops?|macs?)?\s*", text.lower())
    value = float(match[1]) * 10 ** int(match[2] or 0) * FACTORS[match[3]] if match else 0.0
    if not 0 < value < 1e18:
        raise UserError(option, f'"{text}"', "multiply-adds such as 400M or 1.8G")
    return value


def show_count(value: float, digits: int = 3) -> str:
    """Some digits and a unit: 386M, 1.83G, 5.29M."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def show_seconds(seconds: float) -> str:
    """ "20 ms", "45 s", "12 min", "3.4 h"."""
    if 0 < seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parse_duration(text: str, option: str, expected: str = "a duration such as 90s, 30m or 2h") -> float:
    """Seconds of "20ms", "90s", "30m" or "1.5h". Raises UserError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(us|µs|ms|s|m|min|h)\s*", text)
    if not match or not 0 < float(match[1]) < 1e9:
        raise UserError(option, f'"{text}"', expected)
    return float(match[1]) * SECONDS[match[2]]
