"""The command that looks at the machine."""

from typing import TYPE_CHECKING

import typer

from scalesearch.cli.options import JsonOption

if TYPE_CHECKING:
    from scalesearch.api.doctor import Health


def doctor(json: JsonOption = False) -> None:
    """Show versions, devices, threads, caches, free memory, and what will be used.

    Ends with 0, or with 1 where something is broken.

    Example: scalesearch doctor
    """
    from dataclasses import asdict

    from scalesearch.api.doctor import examine
    from scalesearch.cli.progress import explain, say
    from scalesearch.cli.show import print_json

    found = examine()
    if json:
        print_json(asdict(found))
    else:
        _print(found)
        for broken in found.broken:
            say(f"BROKEN: {broken}")
        if not found.broken:
            explain("All is well. Next: scalesearch grid --space mbconv_small")
    if found.broken:
        raise typer.Exit(1)


def _print(found: "Health") -> None:
    from scalesearch.cli.show import print_table

    sections = (
        ("Versions", found.versions), ("Extras", found.extras), ("Machine", found.machine), ("Folders", found.folders),
        ("Variables", found.variables), ("What will be used", found.used),
    )  # fmt: skip
    for title, values in sections:
        print_table(title, ("", ""), [[name, value] for name, value in values.items()], texts=2)
