"""Sources: one file per kind, each with `accepts(uri) -> bool` and `open_source(uri) -> Source`.

A kind that may hang, end or go stale says `LIVE = True`, and its function takes `SourceOptions`
too: its sources are supervised (`runtime.watched`). It may have `check(uri)`, which raises
SourceError for an address that could never be opened. `NEEDS_SYSTEM = True` says that it imports
what only the board's own system has.
"""

from __future__ import annotations

from types import ModuleType

from device_profiles.errors import SourceError
from runtime.plugins import load_all, names
from runtime.sources._options import Policy, SourceOptions, redacted, split_fragment
from runtime.sources.base import Source

__all__ = [
    "Policy",
    "Source",
    "SourceOptions",
    "check_source",
    "needs_system",
    "open_source",
    "redacted",
]


def open_source(uri: str) -> Source:
    """Open the source that `uri` names; SourceError when none accepts it or it does not open.

    A live source has given its first frame (unless `uri` ends in `#wait=1`) and connects again
    whenever it is lost; see `SourceOptions` for what may stand behind the #. The source's
    attribute `policy` is the `Policy` asked for, or None.
    """
    check_source(uri)
    module, address, options = _kind(uri)
    live = getattr(module, "LIVE", False)
    return _watch(module, address, options) if live else _plain(module, address, options)


def check_source(uri: str) -> None:
    """Raise SourceError for what could never be opened, without opening anything."""
    module, address, _ = _kind(uri)
    check = getattr(module, "check", None)
    if check is not None:
        check(address)


def needs_system(uri: str) -> bool:
    """Tell whether what `uri` names needs packages of the system that no wheel has
    (`NEEDS_SYSTEM`): a camera stack comes with its board."""
    address = uri.partition("#")[0]
    return any(
        getattr(module, "NEEDS_SYSTEM", False) and module.accepts(address)
        for module in load_all("runtime.sources")
    )


def _kind(uri: str) -> tuple[ModuleType, str, SourceOptions]:
    """Return the module that accepts `uri`, the address in it, and its options."""
    address, options = split_fragment(uri)
    for module in load_all("runtime.sources"):
        if module.accepts(address):
            _check_reduce(uri, module, options)
            return module, address, options
    kinds = ", ".join(names("runtime.sources"))
    raise SourceError(f"{redacted(uri)}: no such file, and not a source of any kind ({kinds})")


def connect(uri: str, options: SourceOptions) -> Source:
    """Open a live source without supervision; `uri` has no fragment."""
    module = next(module for module in load_all("runtime.sources") if module.accepts(uri))
    source: Source = module.open_source(uri, options)
    return source


def _watch(module: ModuleType, uri: str, options: SourceOptions) -> Source:
    from runtime.watched import Watched

    def open_here() -> Source:
        source: Source = module.open_source(uri, options)
        return source

    def open_apart() -> Source:
        from runtime.isolated import Isolated

        return Isolated(uri, options)

    source = Watched(uri, open_apart if options.isolate == "process" else open_here, options)
    if not options.wait:
        try:
            source.wait_for_first()
        except BaseException:
            source.close()
            raise
    return source


def _plain(module: ModuleType, uri: str, options: SourceOptions) -> Source:
    if options != SourceOptions(policy=options.policy):
        raise SourceError(
            f"{redacted(uri)}: is not watched; of the options behind # it knows policy"
        )
    source: Source = module.open_source(uri)
    source.policy = options.policy
    return source


def _check_reduce(uri: str, module: ModuleType, options: SourceOptions) -> None:
    if options.reduce > 1 and not getattr(module, "REDUCES", False):
        raise SourceError(f"{redacted(uri)}: only JPEG streams can be decoded reduced (#reduce)")
