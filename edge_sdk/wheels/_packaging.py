"""Names and versions of packages, read by the library that defines them."""

from __future__ import annotations

from device_profiles.errors import missing

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.tags import Tag, compatible_tags, cpython_tags
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
    from packaging.version import InvalidVersion, Version
except ImportError as error:
    raise missing("packaging", "convert") from error

__all__ = [
    "InvalidRequirement",
    "InvalidVersion",
    "InvalidWheelFilename",
    "Requirement",
    "SpecifierSet",
    "Tag",
    "Version",
    "canonicalize_name",
    "compatible_tags",
    "cpython_tags",
    "parse_wheel_filename",
]
