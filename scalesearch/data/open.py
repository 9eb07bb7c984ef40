"""From what the user typed after --data to a source."""

import difflib
import os
from pathlib import Path

from scalesearch.data.folder import folder_source
from scalesearch.data.glyphs import glyph_source
from scalesearch.data.named import NAMED_SETS, named_source
from scalesearch.data.places import datasets_folder
from scalesearch.data.source import Source
from scalesearch.errors import UserError

SET_NAMES = ("glyphs", *NAMED_SETS)
_SUGGESTED = 3


def open_source(data: str) -> Source:
    """``glyphs``, one of torchvision's sets by name, or a folder; ``./name`` is always a folder.

    Raises UserError, with a suggestion for a mistyped name.
    """
    if not data.strip():
        raise UserError("--data", "nothing", f"a folder or one of {', '.join(SET_NAMES)}")
    if data == "glyphs":
        return glyph_source()
    if data in NAMED_SETS:
        return named_source(data, datasets_folder())
    if os.sep in data or data.startswith((".", "~")) or Path(data).exists():
        return folder_source(data)
    close = difflib.get_close_matches(data.lower().replace("-", "").replace("_", ""), SET_NAMES, _SUGGESTED)
    raise UserError(
        "--data",
        f"'{data}'",
        f"a folder or one of {', '.join(SET_NAMES)}",
        f"Did you mean {' or '.join(close)}?" if close else f"For a folder of that name write ./{data}.",
    )
