"""``python -m scalesearch``: the command line."""

from scalesearch.cli.main import run

run()
