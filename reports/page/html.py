"""The file: template, style and script of `assets/` with the data as JSON, which no text in it can break out of."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from typing import Any

SCRIPTS = ("core", "filter", "chart", "table", "tradeoff", "diff", "run", "chooser", "compare", "main")
"""Files of `assets/`, in the order in which they need one another."""
PART = 200
"""Runs whose predictions, curves and settings lie in one part of the file, which is read when one of them is opened."""


def page(data: dict[str, Any], title: str) -> str:
    """The whole HTML text."""
    later = data["later"]
    parts = [later[start : start + PART] for start in range(0, len(later), PART)]
    asset = files("reports.page").joinpath("assets")
    filled = {
        "title": html.escape(title),
        "css": asset.joinpath("page.css").read_text(encoding="utf-8"),
        "js": "".join(asset.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
        "data": embedded({name: value for name, value in data.items() if name != "later"} | {"part": PART}),
        "later": "\n".join(
            f'<script type="application/json" id="later-{i}">{embedded(part)}</script>' for i, part in enumerate(parts)
        ),
    }
    template = asset.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub("@@([a-z]+)@@", lambda match: filled[match[1]], template)


def embedded(value: Any) -> str:
    """JSON in which no `</script>` or `<!--` can stand; characters beyond ASCII are escaped, lone surrogates too."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
