"""Figures: values in, a matplotlib ``Figure`` out. No pyplot, no global state."""
