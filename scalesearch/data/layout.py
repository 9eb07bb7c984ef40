"""What the folders of a data set mean: parts, classes, or neither. Pure: it looks at a listing alone and refuses what
could be meant in two ways, with what to name or to type instead."""

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from scalesearch.data.formats import shown_endings
from scalesearch.data.listing import Folder, LeftOut, Reason, count_endings, examples, require_readable
from scalesearch.errors import UserError, pasted
from scalesearch.units import counted

LAYOUT = "Give a folder of class folders, or one with train/ and val/ or test/ that each hold class folders."
PARTS = ("train", "val", "test")
# Names of parts without their separators, as Keras, Kaggle, torchvision and people write them: training_set, seg_test,
# x_train, train_images, Validation, dev.
_PART = re.compile(
    r"(?:x|seg|images?|imgs?|data|dataset)?(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev)|(?P<test>test"
    r"(?:ing)?))(?:sets?|datas?|datasets?|images?|imgs?|samples?|split|part)?"
)
_PICTURES = frozenset({
    "image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "input", "inputs", "original",
    "originals", "jpegimages", "frames", "rgb",
})  # fmt: skip
_MASKS = frozenset({
    "mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "gt", "groundtruth",
    "groundtruths", "seg", "segmentation", "segmentations", "segmentationclass", "trimap", "trimaps", "target",
    "targets",
})  # fmt: skip
_MASK_SUFFIX = re.compile(r"[-_ .]?(masks?|seg(mentation)?|labels?|gt|annotations?|trimaps?)$")
_ALIKE = 0.5  # of the names that folders hold: above, they are taken for parts of one set
_CLOSE = 0.8  # likeness of a name that is suggested


@dataclass(frozen=True)
class Classes:
    """A part's class folders; ``part`` is "" where a set has no parts, ``folder`` holds them."""

    part: str
    folder: Folder


def part_of(name: str) -> str:
    """The part that a folder's name stands for: "train", "val", "test", or "" for none.

    >>> [part_of(name) for name in ("Training", "seg_test", "x_train", "valid", "dev", "training set", "trainer")]
    ['train', 'test', 'train', 'val', 'val', 'train', '']
    """
    found = _PART.fullmatch(re.sub(r"[-_ .]", "", name).lower())
    return next(part for part in PARTS if found[part]) if found else ""


def spelled(name: str) -> str:
    """A folder's name as the name of a class or person: in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", name)


def part_folders(root: str, top: Folder) -> list[Classes]:
    """The parts in a set's folder, train first; one part "" where its folders are classes.

    Args:
        top: all that is below ``root``, at least two levels deep.

    Raises:
        UserError: parts without train, two folders for a part, a part that is a link, or parts one level further down.
    """
    require_parts(root, top)
    named = [(part_of(folder.name), folder) for folder in top.folders if part_of(folder.name)]
    parts = {part for part, _ in named}
    if not ("train" in parts and len(parts) > 1):  # alone, a folder of pictures named train is a class, beside bus
        alone = len(top.folders) == 1
        named = [(part, folder) for part, folder in named if folder.folders and (alone or not folder.files)]
        parts = {part for part, _ in named}
    if not named:
        return [Classes("", top)]
    if "train" not in parts:
        raise UserError(root, f"there is {' and '.join(sorted(parts))} but no train.", do="Add a train/ folder.")
    if len(parts) < len(named):
        names = ", ".join(folder.name for _, folder in named)
        raise UserError(root, f"a part has two folders ({names}).", do="Keep one folder of each part.")
    order = sorted(named, key=lambda pair: PARTS.index(pair[0]))
    return [Classes(part, _undoubled(part, folder)) for part, folder in order]


def require_parts(root: str, top: Folder) -> None:
    """Raises UserError for a part that is a link and not followed, or that cannot be read: images cut from train would
    take its place."""
    for one in top.left_out:
        if one.reason is Reason.UNREADABLE and part_of(one.path):
            problem = f"{one.path} cannot be read, so the {part_of(one.path)} part would be missing."
            raise UserError(os.path.join(root, one.path), problem, do="Change its mode, or remove it.")
        if one.reason is Reason.LINK and part_of(one.path):
            problem = f"{one.path} is a link that is not followed, so the {part_of(one.path)} part would be missing."
            do = "Name where it leads into with --follow-links FOLDER, put the images here, or remove the link."
            raise UserError(os.path.join(root, one.path), problem, do=do)


def check_classes(root: str, classes: Classes) -> None:
    """Refuses folders that are no classes: of parts, of pictures beside masks, or one around the set.

    Raises:
        UserError: what they look like, and what to do.
    """
    require_readable(root, classes.folder)
    folders = classes.folder.folders
    where = os.path.join(root, classes.folder.path) if classes.folder.path else root
    if not classes.part:
        _refuse_wrapped(where, folders)
    _refuse_masks(where, folders)
    if not classes.part:
        _refuse_same_folders(where, folders)
    if not folders:
        raise UserError(where, f"there are no class folders{_instead(classes.folder)}.", do=LAYOUT)
    twice: dict[str, str] = {}
    for folder in folders:
        other = twice.setdefault(spelled(folder.name), folder.name)
        if other != folder.name:
            problem = f"two folders are called '{spelled(folder.name)}', spelled in two ways that look the same."
            raise UserError(where, problem, do="Put the images of both into one folder.")
        if next(folder.images(), None) is None:
            problem = f"the class folder holds no images ({shown_endings()}){_instead(folder)}."
            raise UserError(os.path.join(root, folder.path), problem, do="Remove or fill it.")


def class_names(root: str, parts: Sequence[Classes]) -> tuple[str, ...]:
    """The classes, sorted. Raises UserError for one that train has not, or where there are fewer than two."""
    trained = {spelled(folder.name) for folder in parts[0].folder.folders}
    for one in parts[1:]:
        names = {spelled(folder.name) for folder in one.folder.folders}
        require_trained(names, trained, os.path.join(root, one.folder.path), "here")
    if len(trained) < 2:
        (only,) = parts[0].folder.folders
        inner = [folder for folder in only.folders if next(folder.images(), None)]
        where = os.path.join(root, parts[0].folder.path) if parts[0].folder.path else root
        do = "" if len(inner) < 2 or only.files else f"Were its folders meant? Give {_data(root, only.path)}"
        raise UserError(where, f"there is only one class ('{spelled(only.name)}'); at least two are needed.", do=do)
    return tuple(sorted(trained))


def require_trained(names: Set[str], trained: Set[str], where: str, place: str) -> None:
    """Raises UserError for a class of another part, found in ``place``, that train has not."""
    for name in sorted(names - trained):
        close = _alike(name, trained) or difflib.get_close_matches(name, trained, 1, _CLOSE)
        hint = f"Did you mean '{close[0]}'?" if close else "Add its images to train or remove it."
        raise UserError(where, f"train has no class '{name}', which is {place}.", do=hint)


def spelling_notes(names: Iterable[str]) -> list[str]:
    """What is odd in the names of classes as they are written: one in two spellings, or two that a reader cannot tell
    apart."""
    raw: dict[str, set[str]] = {}
    for name in names:
        raw.setdefault(spelled(name), set()).add(name)
    said = [
        f"the class '{name}' is spelled in two ways that look the same (accents); taken as one"
        for name, spellings in sorted(raw.items())
        if len(spellings) > 1
    ]
    groups: dict[str, list[str]] = {}
    for name in sorted(raw):
        groups.setdefault(_folded(name), []).append(name)
    said += [
        f"the classes {' and '.join(map(repr, names))} differ by case or spaces alone; did you mean one class?"
        for names in groups.values()
        if len(names) > 1
    ]
    return said


def _folded(name: str) -> str:
    return " ".join(spelled(name).casefold().split())


def _alike(name: str, names: Iterable[str]) -> list[str]:
    return sorted(one for one in names if _folded(one) == _folded(name))


def _undoubled(part: str, folder: Folder) -> Folder:
    """seg_train/seg_train/…, as archives unpack to: the inner one, where the outer holds nothing else."""
    while len(folder.entries) == 1 and folder.folders and part_of(folder.folders[0].name) == part:
        (folder,) = folder.folders
    return folder


def _refuse_wrapped(where: str, folders: Sequence[Folder]) -> None:
    """Parts one level down: archive/train, archive/test beside annotations/; or cat/train, cat/test, dog/train, …"""
    around = [folder for folder in folders if _holds_parts(folder)]
    if not around:
        return
    inner = ", ".join(f"{one.name}/" for one in around[0].folders if part_of(one.name))
    if len(around) == 1:
        problem = f"the parts are one level down, in {around[0].name}/ ({inner})."
        raise UserError(where, problem, do=f"Give that folder: {_data(where, around[0].name)}")
    names = examples([f"{folder.name}/" for folder in around])
    problem = f"{names} hold folders of parts ({inner}) of their own."
    do = f"Give one of them, such as {_data(where, around[0].name)}; if they are classes, put train/ and "
    raise UserError(where, problem, do=do + "test/ above them.")


def _holds_parts(folder: Folder) -> bool:
    parts = {part_of(one.name) for one in folder.folders} - {""}
    deep = any(part_of(one.name) == "train" and one.folders and not one.files for one in folder.folders)
    return "train" in parts and (len(parts) > 1 or deep)


def _refuse_masks(where: str, folders: Sequence[Folder]) -> None:
    """images/ beside masks/, with files of the same names."""
    pictures = [folder for folder in folders if _plain(folder.name) in _PICTURES]
    masks = [folder for folder in folders if _plain(folder.name) in _MASKS]
    for picture in pictures:
        for mask in masks:
            ours, theirs = _stems(picture), _stems(mask)
            if 2 * len(ours & theirs) >= min(len(ours), len(theirs)) > 0:
                problem = (
                    f"{picture.name}/ and {mask.name}/ hold files of the same names: they look like pictures and their "
                    "masks, which is segmentation, not classes of images."
                )
                do = f"Give a folder of class folders, perhaps {_data(where, picture.name)}"
                raise UserError(where, problem, do=do)


def _plain(name: str) -> str:
    return re.sub(r"[-_ .]", "", name).lower()


def _stems(folder: Folder) -> set[str]:
    start = len(folder.path) + 1
    return {_MASK_SUFFIX.sub("", os.path.splitext(file.path[start:])[0].lower()) for file in folder.images()}


def _refuse_same_folders(where: str, folders: Sequence[Folder]) -> None:
    """First/a, First/b, Second/a, Second/b: parts of a set whose names are not known, or classes in groups."""
    if len(folders) < 2 or any(folder.files for folder in folders):
        return
    inner = [{spelled(one.name) for one in folder.folders} for folder in folders]
    common, every = set.intersection(*inner), set.union(*inner)
    if len(common) < 2 or len(common) <= _ALIKE * len(every):
        return
    names = examples([f"{folder.name}/" for folder in folders])
    problem = f"{names} hold the same folders ({examples(sorted(common))}): they look like parts of a set, not classes."
    do = "Name the parts train/ and test/; if they are classes, put the images of each into one folder."
    raise UserError(where, problem, do=do)


def _instead(folder: Folder) -> str:
    """What a folder without images or classes holds, in brackets; "" for nothing."""
    left = list(folder.everything_left_out())
    said = []
    if folder.files:
        said.append(f"{counted(len(folder.files), 'image')} outside of class folders")
    for reason, what in ((Reason.LINK, "link"), (Reason.FORMAT, "picture"), (Reason.ENDING, "file")):
        paths = [one.path for one in left if one.reason is reason]
        if paths:
            said.append(_found(reason, what, paths))
    return f"; there are {', and '.join(said)}" if said else ""


def _found(reason: Reason, what: str, paths: list[str]) -> str:
    count = counted(len(paths), what)
    if reason is Reason.LINK:
        return f"{count} that are not followed ({examples(paths)}; --follow-links FOLDER follows those into FOLDER)"
    return (
        f"{count} {'of kinds not read here' if reason is Reason.FORMAT else 'of other kinds'} ({count_endings(paths)})"
    )


def loose(classes: Classes) -> list[LeftOut]:
    """The images that lie beside the class folders, in none."""
    return [LeftOut(file.path, Reason.LOOSE) for file in classes.folder.files]


def _data(root: str, name: str) -> str:
    """The option that gives a folder inside of ``root``."""
    return pasted("--data", os.path.join(root, name))
