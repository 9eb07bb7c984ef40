"""The one exception family: every message says where, what was found, what was expected, what to do."""

import shlex

MOST_MISTAKES = 12  # of a file, shown
LONGEST = 1500  # characters of one part of a message


def printable(text: str) -> str:
    """Text from files and file names as a terminal may be sent it: control characters, line ends and what no
    encoding holds are written as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def pasted(*words: object) -> str:
    """Words of a command line, or of a part of one, that can be pasted into a shell whatever is in them.

    >>> pasted("scalesearch", "evaluate", "my model/it's.safetensors", "--data", "PATH")
    'scalesearch evaluate \'my model/it\'"\'"\'s.safetensors\' --data PATH'
    """
    return shlex.join(map(str, words))


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST // 2] + " … " + shown[-LONGEST // 3 :]


class ScaleSearchError(Exception):
    """Base of everything scalesearch raises on purpose."""


class UserError(ScaleSearchError):
    """A bad input. The command line prints it without a traceback and exits with code 2.

    Args:
        where: the file, option or value at fault, e.g. ``--alpha`` or ``space.toml: stages[3].kernel``.
        problem: what is wrong there, as a sentence that says what was given and what would be accepted.
        do: one imperative sentence that mends it (optional); lines may follow it, such as a file to write.
    """

    def __init__(self, where: str, problem: str, do: str = "") -> None:
        self.where, self.problem, self.do = where, problem, do
        mended = "\n".join(map(_short, do.split("\n")))
        super().__init__(" ".join(filter(None, (f"{_short(where)}: {_short(problem)}", mended))))

    def __reduce__(self) -> tuple[object, ...]:  # keeps the parts when crossing processes
        return (type(self), (self.where, self.problem, self.do))


class SpaceError(UserError):
    """Mistakes of one search-space file, all at once.

    Args:
        where: the file.
        mistakes: a sentence each, ``stages[3].kernel: 4 is not an odd whole number from 1 to 15.``.
    """

    def __init__(self, where: str, mistakes: tuple[str, ...]) -> None:
        self.mistakes = mistakes
        super().__init__(where, f"{len(mistakes)} mistake(s) in a search space.")
        shown = [f"{_short(where)}: {_short(mistake)}" for mistake in mistakes[:MOST_MISTAKES]]
        if len(mistakes) > MOST_MISTAKES:
            shown.append(f"{_short(where)}: {len(mistakes) - MOST_MISTAKES} more mistakes")
        self.args = ("\n".join(shown),)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.where, self.mistakes))


class RunInterruptedError(ScaleSearchError):
    """Ctrl-C during a long job: what is done is kept, the same command continues."""

    def __init__(self) -> None:
        super().__init__("interrupted; what is done is kept, the same command continues")
