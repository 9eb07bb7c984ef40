"""The units, as commands import them."""

from scalesearch.units import parse_duration, parse_flops, show_count, show_seconds

__all__ = ["parse_duration", "parse_flops", "show_count", "show_seconds"]
