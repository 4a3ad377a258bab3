"""Does a bundle lose no more than one point? python examples/check_accuracy.py BUNDLE DATA

DATA is a folder with one subfolder of images per class, or images with labels.csv. Ends with exit
code 1 when the bundle's golden answers are not reproduced or the budget is exceeded.
"""

from __future__ import annotations

import sys

from edge_sdk import CheckOptions, Report, check


def main(bundle: str, data: str) -> Report:
    """Compare the bundle with its own float32 artifact, and judge it."""
    report = check(bundle, data, CheckOptions(max_drop=1.0))
    print(report.summary)
    for gate in report.gates:
        print("PASS" if gate.passed else "FAIL", gate.name, gate.detail, sep="  ")
    return report


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]).passed else 1)
