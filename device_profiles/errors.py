"""Every error of the product, rooted in one class.

    EdgeError                     catch this one to catch them all
    ├── RequestError              (ValueError)    what was asked, or its input, is wrong   exit 2
    │   ├── ProfileError                          a device profile
    │   ├── ModelError                            a model that cannot be read or captured
    │   │   └── WeightsError                      weights that do not fit the architecture
    │   ├── ContractError                         a preprocessing contract
    │   ├── DataError                             images, labels, data sets
    │   └── BundleError                           a bundle that cannot be trusted
    ├── SourceError               (OSError)       frames cannot be read                    exit 2
    ├── OutputError               (OSError)       something cannot be written              exit 2
    ├── GateError                 (RuntimeError)  done, and a gate failed                  exit 1
    │   └── ReleaseError                          a device keeps the release that it had
    ├── EngineError               (RuntimeError)  an engine cannot load or run a model     exit 3
    │   └── CrashError                            the process that ran it died of a signal
    └── MissingError              (ImportError)   the environment lacks a package          exit 3

Messages are one line: what, where, what to do next.
"""

from __future__ import annotations


class EdgeError(Exception):
    """Root of every error raised by Edge SDK; `exit_code` is what the command line returns."""

    exit_code = 2


class RequestError(EdgeError, ValueError):
    """What was asked for, or an input to it, is wrong."""


class ProfileError(RequestError):
    """A device profile is unknown, unreadable or invalid."""


class ModelError(RequestError):
    """A model cannot be read, built or captured."""


class WeightsError(ModelError):
    """A weights file is unreadable or does not fit the architecture."""


class ContractError(RequestError):
    """A preprocessing contract is incomplete or contradicts the model."""


class DataError(RequestError):
    """A data set, label file or image cannot be used."""


class BundleError(RequestError):
    """A bundle is damaged, hostile or of an unknown schema."""


class SourceError(EdgeError, OSError):
    """Frames cannot be read from a source."""


class OutputError(EdgeError, OSError):
    """A file, folder or sink cannot be written."""


class GateError(EdgeError, RuntimeError):
    """The work was done, and what it produced failed a gate (accuracy, health, budget)."""

    exit_code = 1


class ReleaseError(GateError):
    """A device was given a release and keeps, or is back at, the one that it had."""


class EngineError(EdgeError, RuntimeError):
    """An engine cannot load or run a model on the provider asked for."""

    exit_code = 3


class CrashError(EngineError):
    """The process that ran an engine died; `signal` is the number of the signal."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class MissingError(EdgeError, ImportError):
    """A package or program that the request needs is not installed."""

    exit_code = 3


def missing(package: str, extra: str) -> MissingError:
    """Return the error for an optional `package` that the named `extra` of edge-sdk installs."""
    return MissingError(
        f"{package} is not installed; install it with: pip install 'edge-sdk[{extra}]'"
    )
