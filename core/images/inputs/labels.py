"""The classes of images: from the folders they lie in, or from a table. Standard library only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.path_table import read_table_columns

_SYNSET = re.compile(r"n\d{8}")
_SYNSETS = Path(__file__).with_name("imagenet_synsets.txt")
"""The WordNet ids of the 1000 classes of ImageNet-1k (ILSVRC 2012), in the order of their numbers."""

_NAMES_TOLD = 4


def labels_of_folders(inputs: Iterable[ImageInput]) -> list[str]:
    """The label of each input whose id is relative to a folder: the name of the folder below that it lies in.

    Raises InvalidInputError for an image that lies in no such folder.
    """
    return [_folder_of(item) for item in inputs]


def _folder_of(item: ImageInput) -> str:
    folder, slash, _ = item.id.partition("/")
    if not slash:
        raise InvalidInputError(
            f"{item.source} lies in no folder of a class.",
            hint="Give a folder that holds one folder for each class, or a table with --label-column.",
            path=item.source,
        )
    return folder


def read_labels(file: BinaryIO, name: str, *, column: str, label_column: str) -> dict[str, str]:
    """The labels of a table by the absolute paths of the images.

    Args:
        file: the table, CSV or Parquet.
        name: its name in errors.
        column: name of the column with paths, relative to the working directory.
        label_column: name of the column with labels.

    Raises:
        NotFoundError: there is no such column.
        InvalidInputError: the table cannot be read, a label is missing, or an image has two.
    """
    found: dict[str, str] = {}
    for path, label in read_table_columns(file, name, (column, label_column)):
        if not path:
            continue
        if not label:
            raise InvalidInputError(f"{name} gives no label for {path!r}.", path=name)
        key = os.path.abspath(path)
        if found.setdefault(key, label) != label:
            raise InvalidInputError(f"{name} gives {path!r} two labels, {found[key]!r} and {label!r}.", path=name)
    return found


def labels_from_table(inputs: Iterable[ImageInput], table: Mapping[str, str]) -> list[str]:
    """The label of each input in a table of `read_labels`. Raises InvalidInputError if an input is not in it."""
    labels = []
    for item in inputs:
        label = table.get(os.path.abspath(item.path))
        if label is None:
            raise InvalidInputError(f"The table gives no label for {item.source}.", path=item.source)
        labels.append(label)
    return labels


def read_class_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of classes from a file with one a line, in the order of their numbers.

    Raises NotFoundError, or InvalidInputError for a file that is no text, is empty or names a class twice.
    """
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not a text of class names.", path=str(path)) from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    while names and not names[-1]:
        names.pop()
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if not names or twice is not None:
        problem = "names no class" if not names else f"has the line {twice!r} twice"
        raise InvalidInputError(f"{path} {problem}.", hint="Write the name of one class a line.", path=str(path))
    return tuple(names)


class ClassNumbers(NamedTuple):
    """The number of each label; `alphabetical` if nothing but the order of the labels gave it."""

    numbers: dict[str, int]
    alphabetical: bool = False


def class_numbers(
    labels: Sequence[str], num_classes: int, names: Sequence[str] | None = None, stated: Sequence[str] = ()
) -> ClassNumbers:
    """The number of each label among the outputs of a model.

    With `names`, a label is the name of the class at its place. Without, the same holds for the names that the model's
    own configuration has `stated`, if all labels are among them. Otherwise the labels are numbers; or WordNet ids of
    the classes of ImageNet-1k, if the model has 1000; or as many as the model has classes, in the order of their names.

    Raises UsageError if neither holds, or a number or name is not one of the model's classes.
    """
    distinct = sorted(set(labels))
    if names is not None:
        if len(names) != num_classes:
            raise UsageError(f"The model has {num_classes} classes, and {len(names)} names of classes are given.")
        return ClassNumbers(_among(distinct, names, "the names of classes"))
    if len(stated) == num_classes and set(stated).issuperset(distinct):
        return ClassNumbers(_among(distinct, stated, "the names of classes"))
    if all(label.isascii() and label.isdigit() for label in distinct):
        numbers = {label: int(label[:18]) for label in distinct}
        largest = max(distinct, key=lambda label: numbers[label])
        if numbers[largest] >= num_classes:
            raise UsageError(
                f"The model has the classes 0 to {num_classes - 1}, found the label {largest}.",
                hint="If classes are counted from 1, or have other numbers, give their names in order: --classes FILE.",
            )
        return ClassNumbers(numbers)
    if num_classes == len(synsets()) and all(map(_SYNSET.fullmatch, distinct)):
        return ClassNumbers(_among(distinct, synsets(), "ImageNet-1k"))
    if len(distinct) == num_classes:
        return ClassNumbers({label: number for number, label in enumerate(distinct)}, alphabetical=True)
    told = ", ".join(distinct[:_NAMES_TOLD]) + (", ..." if len(distinct) > _NAMES_TOLD else "")
    raise UsageError(
        f"The model has {num_classes} classes, and the images have {len(distinct)} labels: {told}.",
        hint="Name the model's classes in order, one a line: --classes FILE.",
    )


def _among(labels: Iterable[str], names: Sequence[str], where: str) -> dict[str, int]:
    numbers = {name: number for number, name in enumerate(names)}
    unknown = [label for label in labels if label not in numbers]
    if unknown:
        raise UsageError(f"The label {unknown[0]!r} is not among {where}.")
    return {label: numbers[label] for label in labels}


def synsets() -> list[str]:
    """The WordNet ids of the classes of ImageNet-1k, in order."""
    return _SYNSETS.read_text(encoding="ascii").split()
