"""Where the command begins: signals are heard before anything else is imported, and not any more once it has ended."""

import signal
import sys

from scalesearch.cli.interruption import SIGNALS, interruptible
from scalesearch.errors import RunInterruptedError


def run() -> None:
    """Entry point; see ``main.run``."""
    try:
        with interruptible():
            from scalesearch.cli.main import run as command

            command()
    except RunInterruptedError as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(130)
    finally:
        for one in SIGNALS:  # the interpreter cleans up, and would show where it is
            signal.signal(one, signal.SIG_IGN)
