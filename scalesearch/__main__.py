"""``python -m scalesearch``: the command line."""

from scalesearch.cli.entry import run

run()
