"""What a shell may complete: names of spaces, networks and image sets. Called by the shell, so errors are silence."""

from collections.abc import Iterable


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def spaces(incomplete: str) -> list[str]:
    """Shipped spaces."""
    from scalesearch.design.space import space_names

    return _starting(space_names(), incomplete)


def models(incomplete: str) -> list[str]:
    """b0 to b6, released members, spaces."""
    from scalesearch.design.family import model_names

    return _starting(model_names(), incomplete)


def data(incomplete: str) -> list[str]:
    """Image sets by name; the shell itself completes folders where no name fits."""
    from scalesearch.data.dataset import SET_NAMES

    return _starting(SET_NAMES, incomplete)


def weights(incomplete: str) -> list[str]:
    """ "imagenet" and the published networks; the shell itself completes files where no name fits."""
    from scalesearch.nets.weights import NEAREST, PUBLISHED

    return _starting((NEAREST, *PUBLISHED), incomplete)


def runs(incomplete: str) -> list[str]:
    """Folders of searches under runs/."""
    from pathlib import Path

    return _starting((str(path.parent) for path in sorted(Path("runs").glob("*/run.json"))), incomplete)
