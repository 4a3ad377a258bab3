"""Report: numbers against a budget, as text, as one HTML page, as JSON."""

from edge_sdk.report.html import page, write_page
from edge_sdk.report.report import (
    Bar,
    Bars,
    Cell,
    Chart,
    Gate,
    Lines,
    Point,
    Report,
    Scatter,
    Series,
    Table,
)
from edge_sdk.report.svg import draw
from edge_sdk.report.text import render, table

__all__ = [
    "Bar",
    "Bars",
    "Cell",
    "Chart",
    "Gate",
    "Lines",
    "Point",
    "Report",
    "Scatter",
    "Series",
    "Table",
    "draw",
    "page",
    "render",
    "table",
    "write_page",
]
