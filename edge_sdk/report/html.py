"""A report as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from html import escape
from pathlib import Path

from device_profiles.errors import OutputError, RequestError
from edge_sdk.report.drawing import theme
from edge_sdk.report.figures import cells, clean, is_numeric
from edge_sdk.report.report import Gate, Report, Table
from edge_sdk.report.svg import draw

_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}

_STYLE = (
    theme(":root")
    + """
:root{color-scheme:light dark;--good:#116b3a;--bad:#b3261e;--badge:#ffffff}
@media screen and (prefers-color-scheme:dark){
:root{--good:#4cc38a;--bad:#ff8a80;--badge:#14181d}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:960px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 8px;overflow-wrap:anywhere}
h2{font-size:18px;margin:40px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--grid)}
p{margin:8px 0;overflow-wrap:anywhere}
.lead{font-size:17px}
.badge{display:inline-block;min-width:46px;padding:1px 8px;border-radius:4px;text-align:center;
font-size:12px;font-weight:700;letter-spacing:.04em;color:var(--badge);background:var(--bad)}
.badge.pass{background:var(--good)}
.gates{list-style:none;margin:0;padding:0}
.gates li{display:grid;grid-template-columns:62px minmax(120px,1fr) 2fr;gap:12px;
padding:7px 0;border-bottom:1px solid var(--grid);align-items:baseline;overflow-wrap:anywhere}
.gates .badge{justify-self:start}.quiet,figcaption,.note{color:var(--muted)}
.note,figcaption{font-size:13px;margin:6px 0 0}
figure{margin:20px -13px 28px;overflow-x:auto}figure img,figure svg{display:block;height:auto}
figure svg{width:100%;min-width:600px}figure figcaption,figure img{margin-left:13px}
figure img{max-width:calc(100% - 26px);border-radius:4px}
.scroll{overflow-x:auto;margin:16px 0 28px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding-bottom:6px}
th,td{text-align:left;vertical-align:top;padding:6px 18px 6px 0;border-bottom:1px solid var(--grid)}
th:last-child,td:last-child{padding-right:0}
th{font-size:13px;font-weight:600;color:var(--muted);vertical-align:bottom}
.num{text-align:right;white-space:nowrap}
details{margin-top:40px}summary{cursor:pointer;font-weight:600}
pre{font:12px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-x:auto;
white-space:pre-wrap;overflow-wrap:anywhere}
@media print{body{font-size:11pt}main{max-width:none;padding:0}
figure,tr,.gates li{break-inside:avoid}h2,caption{break-after:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}.badge{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
)


def page(report: Report, images: Mapping[str, bytes] | None = None) -> str:
    """Return the report as HTML; `images` are PNG, JPEG, GIF or WebP files by their caption.

    RequestError for an image of another kind.
    """
    parts = [_head(report)]
    if report.gates:
        parts.append(
            _section("Gates", [f'<ul class="gates">{"".join(map(_gate, report.gates))}</ul>'])
        )
    if report.charts:
        parts.append(_section("Charts", [_figure(draw(c), c.note) for c in report.charts]))
    if report.tables:
        parts.append(_section("Tables", [_table(table) for table in report.tables]))
    if images:
        parts.append(_section("Pictures", [_image(*item) for item in images.items()]))
    if report.notes:
        notes = "".join(f"<li>{_text(note)}</li>" for note in report.notes)
        parts.append(_section("Notes", [f"<ul>{notes}</ul>"]))
    if report.facts:
        facts = json.dumps(report.to_json()["facts"], indent=2, ensure_ascii=False)
        parts.append(f"<details><summary>All facts</summary><pre>{escape(facts)}</pre></details>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{_text(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(parts)}\n</main>\n</body>\n</html>\n"
    )


def write_page(path: str | Path, report: Report, images: Mapping[str, bytes] | None = None) -> None:
    """Write the page, whole or not at all; OutputError when it cannot be written."""
    path = Path(path)
    # File names that are no text may stand among the facts; they must not stop the report.
    data = page(report, images).encode("utf-8", "backslashreplace")
    draft = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose a file in a writable folder "
            "with space"
        ) from error
    finally:
        if os.path.exists(draft):
            draft.unlink()


def _head(report: Report) -> str:
    verdict = f"<p>{_badge(report.passed)} {_count(report.gates)}</p>" if report.gates else ""
    summary = f'<p class="lead">{_text(report.summary)}</p>' if report.summary else ""
    return f"<header><h1>{_text(report.title)}</h1>{summary}{verdict}</header>"


def _count(gates: tuple[Gate, ...]) -> str:
    passed = sum(gate.passed for gate in gates)
    return f"{passed} of {len(gates)} gates passed"


def _gate(gate: Gate) -> str:
    detail = f'<span class="quiet">{_text(gate.detail)}</span>'
    return f"<li>{_badge(gate.passed)}<span>{_text(gate.name)}</span>{detail}</li>"


def _badge(passed: bool) -> str:
    return '<span class="badge pass">PASS</span>' if passed else '<span class="badge">FAIL</span>'


def _section(title: str, parts: list[str]) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def _figure(content: str, caption: str) -> str:
    note = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
    return f"<figure>{content}{note}</figure>"


def _table(table: Table) -> str:
    columns = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    kinds = [' class="num"' if is_numeric(column) else "" for column in columns]
    head = "".join(
        f'<th scope="col"{kind}>{_text(name)}</th>'
        for name, kind in zip(table.columns, kinds, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{k}>{escape(c)}</td>' for c, k in zip(row, kinds, strict=True))}</tr>"
        for row in zip(*map(cells, columns), strict=True)
    )
    body = body or f'<tr><td colspan="{len(columns)}">nothing</td></tr>'
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><caption>{_text(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}</div>"
    )


def _image(caption: str, data: bytes) -> str:
    kinds = [kind for magic, kind in _KINDS.items() if data.startswith(magic)]
    if not kinds:
        raise RequestError(f"image {caption!r}: of no known kind; give a PNG, JPEG, GIF or WebP")
    uri = f"data:image/{kinds[0]};base64,{base64.b64encode(data).decode()}"
    return _figure(f'<img src="{uri}" alt="{_text(caption)}">', caption)


def _text(words: str) -> str:
    return escape(clean(words))
