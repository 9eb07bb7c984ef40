"""What lies at a path that was given as --data: a folder of class folders, or a table of files and labels."""

import os
from pathlib import Path

from scalesearch.data.file_list import CSV_ENDINGS, csv_source
from scalesearch.data.folder import folder_source
from scalesearch.data.source import Source


def source_at(data: str, follow_links: str | Path | None = None) -> Source:
    """The images at a path. Raises UserError for what is none of the kinds that are read."""
    path = Path(os.path.expanduser(data))  # leaves ~nobody as it is, where pathlib would raise
    if path.is_file() and path.suffix.lower() in CSV_ENDINGS:
        return csv_source(path)
    return folder_source(data, follow_links)
