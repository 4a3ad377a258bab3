"""Charts as SVG pictures, complete in themselves, for light and dark, screen and paper."""

from __future__ import annotations

from edge_sdk.report import bars, lines, scatter
from edge_sdk.report.report import Bars, Chart, Scatter


def draw(chart: Chart) -> str:
    """Return a chart as one `<svg>` element, which also stands alone as a file.

    Axes begin at zero where that leaves the values apart, else they say their range. Values that
    are not finite are left out of the drawing; a row keeps its place and says n/a.
    """
    if isinstance(chart, Bars):
        return bars.draw(chart)
    return scatter.draw(chart) if isinstance(chart, Scatter) else lines.draw(chart)
