"""Work on images by threads, in the order that it is asked for: Pillow lets others run while it decodes."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from scalesearch.machine import cores

AHEAD = 2  # batches that are worked on while one is used
HUNG_SECONDS = 60.0
LOG = logging.getLogger("scalesearch")

_Done = TypeVar("_Done")


def in_order(
    work: Callable[[int], _Done], batches: Iterable[Sequence[int]], name: Callable[[int], str] = str
) -> Iterator[list[_Done]]:
    """``work`` on each item of each batch, by as many threads as there are cores, two batches ahead.

    Args:
        name: what an item is called where it takes a minute, as on a network's disk that does not answer.
    """
    pool = ThreadPoolExecutor(cores())
    waiting: deque[list[tuple[Future[_Done], int]]] = deque()
    try:
        for batch in batches:
            waiting.append([(pool.submit(work, item), item) for item in batch])
            if len(waiting) > AHEAD:
                yield [_awaited(future, name, item) for future, item in waiting.popleft()]
        while waiting:
            yield [_awaited(future, name, item) for future, item in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _awaited(future: Future[_Done], name: Callable[[int], str], item: int) -> _Done:
    if not wait([future], HUNG_SECONDS).done:
        LOG.warning("%s has not been read for %g s; its disk may not answer. Waiting.", name(item), HUNG_SECONDS)
    return future.result()
