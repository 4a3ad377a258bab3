"""Label files, and how the classes of a data set map to the classes of a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import DataError

# The data set's class -> the model's classes that bear one of its names.
Candidates = dict[int, set[int]]


@dataclass(frozen=True)
class LabelMap:
    """Model class of each class of a data set, and `how` it was found, for the report.

    `offset` is what is added to every class; None when the classes are merely reordered.
    """

    offset: int | None
    how: str
    mapping: Mapping[int, int]

    def to_model(self, label: int) -> int:
        """Return the model's class for the data set's `label`; DataError when there is none."""
        if label not in self.mapping:
            raise DataError(f"class {label} of the data set has no class in the model ({self.how})")
        return self.mapping[label]


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Return the lines of a UTF-8 label file, without the blank ones at its end.

    Raises DataError when the file cannot be read, is not UTF-8 or holds no labels.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read labels {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"labels {path} are not UTF-8: {error}; save the file as UTF-8") from error
    if not text.strip():
        raise DataError(f"labels {path} are empty; write one class name per line")
    return tuple(line.strip() for line in text.rstrip().split("\n"))


def match_labels(
    class_names: Mapping[int, str] | None,
    labels: tuple[str, ...],
    classes: int,
    offset: int | None = None,
    present: Collection[int] = (),
) -> LabelMap:
    """Return how a data set's classes map to the `classes` outputs of a model named by `labels`.

    A given `offset` is used as it is. Else the names decide: each name that fits exactly one
    label votes for an offset, and all votes must agree; or every name finds its own label in
    another order. Without labels, class i is output i, if there are as many names as outputs or
    none. `present` are the classes
    that occur in the data set, where no `class_names` tell. Raises DataError, which asks for
    `--label-offset`, rather than guess.
    """
    if labels and len(labels) != classes:
        raise DataError(
            f"there are {len(labels)} labels for a model with {classes} outputs; "
            "give the label file that belongs to the model"
        )
    known = sorted(set(class_names or ()) | set(present))
    if offset is not None:
        return _shifted(known, classes, offset, f"offset {offset:+d} as given")
    if class_names and labels:
        return _by_name(class_names, known, labels)
    if class_names and len(class_names) != classes:
        raise DataError(
            f"the data set names {len(class_names)} classes and the model has {classes} outputs "
            "without labels; give the model's --labels, or --label-offset N (model class = data "
            "set class + N; 0 where the numbers are the same)"
        )
    if labels and _names(labels[0]) == ["background"]:
        raise DataError(
            "the data set has no class names and the model's class 0 is its background; "
            "say --label-offset 1 if the data set counts without background, else 0"
        )
    return _shifted(known, classes, 0, "by index: no names to compare")


def _shifted(known: list[int], classes: int, offset: int, how: str) -> LabelMap:
    outside = [label for label in known if not 0 <= label + offset < classes]
    if outside:
        raise DataError(
            f"class {outside[0]} of the data set with offset {offset:+d} is outside the model's "
            f"{classes} outputs ({how}); state the right one with --label-offset N"
        )
    every = known or [i for i in range(-offset, classes - offset) if i >= 0]
    return LabelMap(offset, how, {label: label + offset for label in every})


def _by_name(class_names: Mapping[int, str], known: list[int], labels: tuple[str, ...]) -> LabelMap:
    candidates = _candidates(class_names, labels)
    clear = {label: min(found) for label, found in candidates.items() if len(found) == 1}
    votes = Counter(index - label for label, index in clear.items())
    total = len(class_names)
    if len(votes) == 1 and len(clear) * 2 > total:
        offset = next(iter(votes))
        how = f"by name: {len(clear)} of {total} names agree on offset {offset:+d}"
        return _shifted(known, len(labels), offset, how)
    if len(clear) == total == len(set(clear.values())) and set(known) == set(class_names):
        return LabelMap(None, f"by name: all {total} names match, in another order", clear)
    raise DataError(_disagreement(class_names, clear, votes))


def _candidates(class_names: Mapping[int, str], labels: tuple[str, ...]) -> Candidates:
    """Return the fitting labels per class; names that several classes share fit none."""
    index: dict[str, set[int]] = defaultdict(set)
    for number, text in enumerate(labels):
        for name in _names(text):
            index[name].add(number)
    shared = Counter(tuple(_names(text)) for text in class_names.values())
    return {
        label: set().union(*(index.get(name, set()) for name in _names(text)))
        for label, text in class_names.items()
        if shared[tuple(_names(text))] == 1
    }


def _names(text: str) -> list[str]:
    """Return the synonyms in `text`, in lower case, words separated by single spaces."""
    plain = text.lower().replace("_", " ").replace("-", " ")
    return [" ".join(part.split()) for part in plain.split(",") if part.strip()]


def _disagreement(
    class_names: Mapping[int, str], clear: Mapping[int, int], votes: Counter[int]
) -> str:
    remedy = "state it with --label-offset N (model class = data set class + N)"
    if len(votes) > 1:
        said = ", ".join(f"{offset:+d} by {count}" for offset, count in votes.most_common(3))
        return f"the class names do not agree on one label offset ({said}); {remedy}"
    example = next((name for label, name in class_names.items() if label not in clear), "")
    return (
        f"only {len(clear)} of {len(class_names)} class names fit exactly one label of the model "
        f"({example!r} does not), too few to tell the label offset; {remedy}"
    )
