"""The page as one HTML text: template, styles, scripts and data; nothing is fetched, and no data can become markup."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

__all__ = ["asset", "data_block", "fill", "render_page"]

SCRIPTS = ("core.js", "viewer.js", "charts.js", "edit.js", "swallows.js", "flags.js", "main.js")


def asset(name: str) -> str:
    """Text of a file in ``assets``."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def data_block(content: Any) -> str:
    """JSON that may stand inside a ``<script>`` of HTML: no ``<``, ``>`` or ``&`` is in it.

    Args:
        content: JSON-able; a NaN is an error.

    Returns:
        ASCII text.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into the ``{{places}}`` of a template, in one pass: a place within a value stays text.

    Args:
        template: with places.
        values: by name; they are put in as they are.

    Returns:
        The text.

    Raises:
        KeyError: when a place has no value.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def policy(style: str, script: str = "") -> str:
    """A content security policy under which only this style and this script take effect, and nothing is loaded.

    Args:
        style: the content of the page's style element.
        script: the content of its script element.
    """
    scripts = f"script-src {_hash(script)}" if script else "script-src 'none'"
    rules = ("default-src 'none'", "img-src data:", f"style-src {_hash(style)}", scripts)
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def render_page(data: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    """The report page.

    Args:
        data: everything but the frames, JSON-able.
        pictures: the frames, see :class:`~monai_agglo.reporting.pictures.Pictures`.

    Returns:
        HTML text.
    """
    style = "\n" + asset("page.css")
    script = '\n"use strict";\n' + "\n".join(asset(name) for name in SCRIPTS)
    return fill(
        asset("page.html"),
        {
            "title": html.escape(f"Swallow report {data['pseudonym']}"),
            "policy": policy(style, script),
            "style": style,
            "script": script,
            "data": data_block(data),
            "pictures": data_block(pictures),
        },
    )
