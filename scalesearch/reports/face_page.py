"""Pages of faces: who is on photos, and who a set of strangers is made of. Names and paths in them are text."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalesearch.errors import pasted
from scalesearch.reports.page import rendered_page
from scalesearch.units import counted, let_in_words, show_interval, show_percent


@dataclass(frozen=True)
class Crop:
    """A face as a page shows it.

    Args:
        jpeg: bytes of a small square image.
        photo: where it is from.
        lines: what stands below it.
    """

    jpeg: bytes
    photo: str
    lines: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The image itself as an address."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"

    @property
    def parts(self) -> list[str]:
        """The photo's path in pieces between which a line may break."""
        return re.findall(r"[^/_ -]*[/_ -]*", self.photo)[:-1]


@dataclass(frozen=True)
class People:
    """Faces that belong together: a member's, or those of somebody unknown.

    Args:
        name: of the member, or of the group.
        said: what there is to say of them, in a few words.
        crops: at least one.
        ticked: whether they are taken for a stranger, on a page that asks.
    """

    name: str
    said: str
    crops: tuple[Crop, ...]
    ticked: bool = True


def faces_page(
    photos: int, members: Sequence[People], unknown: Sequence[People], once: Sequence[Crop],
    empty: Sequence[tuple[str, str]], threshold: Mapping[str, Any], interval: tuple[float, float],
) -> str:  # fmt: skip
    """Who is on photos, as one HTML page.

    Args:
        photos: how many were looked at.
        members: those who were found, with their faces.
        unknown: groups of faces of one person each, of whom several were seen; ``once``: the other unknown faces.
        empty: (photo, reason) of those without a face.
        threshold: plain values of ``faces.gallery.Threshold``.
        interval: 95 % interval of the share that would be taken for members if all faces were strangers'.
    """
    known = sum(len(one.crops) for one in members)
    strange = sum(len(one.crops) for one in unknown) + len(once)
    basis, warning = threshold_words(threshold)
    if line := let_in_words(known + strange, interval):
        basis.append(f"{line}.")
    basis.append(
        "Below each face stand its squared distance to that member and its photo, and the next member where that one "
        "is nearer than the limit, too."
    )
    return rendered_page(
        "faces.html",
        title=f"Who is on {counted(photos, 'photo')}",
        counts=f"{counted(known, 'face')} of {counted(len(members), 'member')}, {strange} of nobody known, "
        f"{counted(len(empty), 'photo')} without a face.",
        warning=warning,
        basis=basis,
        people=members,
        unknown=unknown,
        once=once,
        once_said=f"on a photo each, {counted(len(once), 'face')}",
        strange=strange,
        empty=empty,
        grouping="Faces in a row look like one person's; such a group may still hold two people, and one person may "
        "stand in two.",
    )


def threshold_words(threshold: Mapping[str, Any]) -> tuple[list[str], str]:
    """What a threshold is and what it rests on, as sentences, and a warning or "".

    Args:
        threshold: plain values of ``faces.gallery.Threshold``.
    """
    sentences = [
        f"A face is taken for a member where it is nearer to them than {threshold['distance']:.3f} (squared distance, "
        "0 to 4; smaller is more alike), and each member for one face of a photo at most."
    ]
    photos, people = counted(threshold["photos"], "photo"), threshold["people"]
    rate = f"{show_percent(threshold['expected'])} of such photos are expected to come nearer (95 % interval "
    rate += f"{show_interval(threshold['low'], threshold['high'])} in the long run)."
    if threshold["basis"] == "strangers":
        return [*sentences, f"That limit was fitted on {photos} of {people} people who are no members: {rate}"], ""
    sentences.append(
        f"That limit was fitted on {photos} of the {people} members, each in turn taken for a stranger: {rate}"
    )
    warning = "No photos of strangers were given: real ones may come nearer than members come to one another."
    return sentences, warning


def strangers_page(groups: Sequence[People], command: str, basis: Sequence[str], counts: str, warning: str = "") -> str:
    """A set of strangers to be confirmed, as one HTML page.

    Args:
        groups: named as their folders, nearest to a member first; those in doubt are not ``ticked``.
        command: that enrols them all; the page adds which are left out.
        basis: how they were chosen, a sentence each.
        counts: how many there are.
    """
    left = [one.name for one in groups if not one.ticked]
    return rendered_page(
        "strangers.html",
        "strangers.js",
        title="Which of these people are not members?",
        counts=counts,
        warning=warning,
        basis=basis,
        command=command,
        without=f" {pasted('--without', ','.join(left))}" if left else "",
        doubtful=[one for one in groups if not one.ticked],
        strangers=[one for one in groups if one.ticked],
    )
