"""The report page as self-contained HTML: template, styles, scripts and escaped data."""

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
    """Read a file of ``assets`` as text."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def data_block(content: Any) -> str:
    """Encode JSON for a ``<script>`` element of HTML, with ``<``, ``>`` and ``&`` escaped.

    Args:
        content: JSON-serialisable content without NaN.

    Returns:
        ASCII text.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill the ``{{placeholders}}`` of a template in one pass; placeholders inside values are not replaced.

    Args:
        template: text with placeholders.
        values: values by name, inserted unescaped.

    Returns:
        The text.

    Raises:
        KeyError: a placeholder has no value.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def policy(style: str, script: str = "") -> str:
    """Content security policy that allows only the given style and script, and no external resource.

    Args:
        style: content of the style element.
        script: content of the script element.

    Returns:
        The policy.
    """
    scripts = f"script-src {_hash(script)}" if script else "script-src 'none'"
    rules = ("default-src 'none'", "img-src data:", f"style-src {_hash(style)}", scripts)
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def render_page(data: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    """Render the report page.

    Args:
        data: JSON-serialisable content except the frames.
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
