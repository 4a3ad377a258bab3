"""TFLite's own metadata: what other tools read of a file's picture, answers and labels.

Field numbers and enums are those of tensorflow_lite_support/metadata/metadata_schema.fbs (root
ModelMetadata, identifier M001). Its associated files are a zip archive behind the model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

NAME = "TFLITE_METADATA"
LABELS = "labels.txt"
_IDENTIFIER = b"M001"

# ContentProperties and ProcessUnitOptions (unions), ColorSpaceType, AssociatedFileType.
_IMAGE, _NORMALIZATION = 2, 1
_UNKNOWN, _GRAYSCALE = 0, 2
_AXIS_LABELS = 2

# What the schema asks of a reader for all that is used here.
_PARSER = "1.0.0"


def described(name: str, channels: int, outputs: Sequence[str], labels: bool) -> bytes:
    """Return the metadata of a model that takes a picture's bytes as they are.

    Its normalisation is inside, so what a reader has to do is (pixel - 0) / 1. The schema has no
    BGR, so that the colour space of three channels is "unknown" and the description says it.
    `labels` tells whether labels.txt names the entries of the first output.
    """
    import flatbuffers

    file = flatbuffers.Builder(1024)
    picture = _picture(file, channels)
    made = [_output(file, output, labels and index == 0) for index, output in enumerate(outputs)]
    graph = _table(file, {2: _tables(file, [picture]), 3: _tables(file, made)}, 4)
    texts = {0: file.CreateString(name), 7: file.CreateString(_PARSER)}
    root = _table(file, {**texts, 3: _tables(file, [graph])}, 8)
    file.Finish(root, _IDENTIFIER)
    return bytes(file.Output())


def packed(model: bytes, labels: str) -> bytes:
    """Return the file with labels.txt, one name a line, in an archive behind it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        # A fixed date: the same model and labels give the same bytes.
        writer.writestr(zipfile.ZipInfo(LABELS, (1980, 1, 1, 0, 0, 0)), labels + "\n")
    return model + archive.getvalue()


def _picture(file: Any, channels: int) -> int:
    gray = channels == 1
    order = "" if gray else " in the order blue, green, red"
    text = file.CreateString(f"pixels 0 to 255{order}; normalisation is inside the model")
    name = file.CreateString("frames")
    image = _table(file, {}, 2, {0: _GRAYSCALE if gray else _UNKNOWN})
    content = _table(file, {1: image}, 3, {0: _IMAGE})
    scale = _table(file, {0: _floats(file, [0.0]), 1: _floats(file, [1.0])}, 2)
    unit = _table(file, {1: scale}, 2, {0: _NORMALIZATION})
    return _table(file, {0: name, 1: text, 3: content, 4: _tables(file, [unit])}, 7)


def _output(file: Any, output: str, labels: bool) -> int:
    name = file.CreateString(output)
    if not labels:
        return _table(file, {0: name}, 7)
    listed = file.CreateString(LABELS)
    entry = _table(file, {0: listed}, 5, {2: _AXIS_LABELS})
    return _table(file, {0: name, 6: _tables(file, [entry])}, 7)


def _table(
    file: Any, offsets: Mapping[int, int], slots: int, bytes_: Mapping[int, int] | None = None
) -> int:
    """Add a table of `slots` fields: offsets to what was added before, and numbers of a byte."""
    file.StartObject(slots)
    for slot, offset in offsets.items():
        file.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in (bytes_ or {}).items():
        file.PrependUint8Slot(slot, number, 0)
    made: int = file.EndObject()
    return made


def _tables(file: Any, offsets: Sequence[int]) -> int:
    file.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        file.PrependUOffsetTRelative(offset)
    made: int = file.EndVector()
    return made


def _floats(file: Any, numbers: Sequence[float]) -> int:
    file.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        file.PrependFloat32(number)
    made: int = file.EndVector()
    return made
