"""`python -m edge_sdk.cli` is `edge-sdk`, where no script of that name is installed."""

import sys

from edge_sdk.cli import main

sys.exit(main())
