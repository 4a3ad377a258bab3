"""What TFLite's own metadata says of a model's picture and answers, and the files packed with it.

Field numbers are those of the schema (tensorflow/lite/schema/metadata_schema.fbs in tflite-support,
root ModelMetadata); the files are in a zip archive behind the model.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from device_profiles.errors import ModelError
from runtime.flatbuffer import Flatbuffer, Table

IDENTIFIER = b"M001"
# enum AssociatedFileType: labels along an axis of the output, and labels of its values.
_LABELS = (2, 3)
# Members of the unions ContentProperties and ProcessUnitOptions; enum ColorSpaceType.
_IMAGE, _NORMALIZATION, _GRAYSCALE = 2, 1, 2
# Far more than labels, vocabularies and descriptions take.
_MAX_FILES = 64
_MAX_BYTES = 16 << 20
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Described:
    """What TFLite's metadata says; each field is empty (None) where it does not.

    The model takes `(pixel - mean) / std`, one number for all channels or one for each, pixels
    0..255. `files` are the names of the files packed with the model.
    """

    name: str = ""
    description: str = ""
    author: str = ""
    licence: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    gray: bool | None = None
    labels: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def described(metadata: bytes, model: bytes) -> Described:
    """Read the metadata of the file `model`; ModelError when either is damaged."""
    root = Flatbuffer(metadata, IDENTIFIER, "TFLite metadata").root()
    files = _files(model)
    graph = next(iter(root.tables(3)), None)
    picture = next(iter(graph.tables(2)), None) if graph else None
    mean, std = _normalization(picture) if picture else ((), ())
    return Described(
        name=root.text(0),
        description=root.text(1),
        author=root.text(4),
        licence=root.text(5),
        mean=mean,
        std=std,
        gray=_gray(picture) if picture else None,
        labels=_labels(graph, files) if graph else (),
        files=tuple(files),
    )


def _normalization(picture: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in picture.tables(4):
        options = unit.table(1) if unit.number(0, "B") == _NORMALIZATION else None
        if options is not None:
            mean, std = (tuple(options.numbers(field, "float32").tolist()) for field in (0, 1))
            if not all(map(math.isfinite, (*mean, *std))):
                raise ModelError(
                    "the TFLite metadata normalises by what is no number; get it again"
                )
            return mean, std
    return (), ()


def _gray(picture: Table) -> bool | None:
    content = picture.table(3)
    image = content.table(1) if content and content.number(0, "B") == _IMAGE else None
    space = image.number(0, "b") if image else 0
    return space == _GRAYSCALE if space else None


def _labels(graph: Table, files: Files) -> tuple[str, ...]:
    """Return the first label file of the first output; one for English before one for others."""
    outputs = graph.tables(3)
    listed = [f for f in (outputs[0].tables(6) if outputs else []) if f.number(2, "b") in _LABELS]
    listed.sort(key=lambda file: file.text(3) not in ("", "en"))
    for file in listed:
        if file.text(0) in files:
            text = files[file.text(0)].decode("utf-8", "replace").lstrip("\ufeff")
            return tuple(line.strip() for line in text.rstrip().split("\n"))
    return ()


def _files(model: bytes) -> Files:
    """Return the files in the archive behind the model; none where there is no archive."""
    if not zipfile.is_zipfile(io.BytesIO(model)):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_FILES or sum(m.file_size for m in members) > _MAX_BYTES:
                raise ModelError(
                    f"the files packed with the TFLite model are over {_MAX_FILES}, or over "
                    f"{_MAX_BYTES >> 20} MiB; that is no model with its labels"
                )
            return {member.filename: archive.read(member) for member in members}
    except ModelError:
        raise
    # What zipfile raises on damaged, encrypted and lying archives has no common base.
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError,
            RuntimeError, LookupError) as error:  # fmt: skip
        raise ModelError(
            f"the files packed with the TFLite model cannot be read ({error}); get it again"
        ) from error
