"""Ctrl-C, and SIGTERM, which batch systems send before they kill: wherever it comes, a command ends in a sentence."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from scalesearch.errors import RunInterruptedError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN_SECONDS = 0.05


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turns what a signal leads to in the block into this project's own error, so that the reader is told what is kept.

    A block that comes to its end all the same is done. Where Python drops what a signal raises, and while a module is
    imported, which cannot be left half-way, the signal is sent once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not heard here
        return
    heard, hook = False, sys.unraisablehook

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        if _imports(frame):
            _send_again(number)
            return
        heard = True
        raise KeyboardInterrupt

    def drop(lost: "sys.UnraisableHookArgs") -> None:
        """Python drops what is raised while it frees an object."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            _send_again(signal.SIGINT)
        else:
            hook(lost)

    before = {one: signal.getsignal(one) for one in SIGNALS}
    for one, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell's background tasks are told to ignore Ctrl-C
            signal.signal(one, hear)
    sys.unraisablehook = drop
    try:
        yield
    except BaseException as error:  # libraries make other errors of it, typer an exit
        done = isinstance(error, SystemExit) and not error.code
        if isinstance(error, KeyboardInterrupt) or (heard and not done):
            raise RunInterruptedError from None
        raise
    finally:
        sys.unraisablehook = hook
        for one, handler in before.items():
            signal.signal(one, handler)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    timer = threading.Timer(AGAIN_SECONDS, signal.raise_signal, [number])
    timer.daemon = True
    timer.start()
