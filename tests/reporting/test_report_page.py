"""The page as HTML: escaped data, no external resources, content security policy."""

import base64
import hashlib
import json
import re

import pytest

from monai_agglo.reporting.page import SCRIPTS, asset, data_block, fill, render_page

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{data}}\u2028&amp;\"'"
MINIMAL = {"pseudonym": EVIL, "measures": {"verdict": {"kind": "other"}}}


def test_data_block_is_escaped():
    text = data_block({EVIL: [EVIL]})
    assert not re.search(r"[<>&\u2028]", text) and text.isascii()
    assert json.loads(text) == {EVIL: [EVIL]}


def test_nan_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        data_block({"x": float("nan")})


def test_placeholders_are_filled_once():
    assert fill("{{a}}-{{b}}", {"a": "{{b}}", "b": "1"}) == "{{b}}-1"
    with pytest.raises(KeyError):
        fill("{{a}}", {})


def test_markup_in_data_is_escaped():
    page = render_page(MINIMAL, {"frames": []})
    assert page.count("<script") == 3 and page.count("</script>") == 3  # two data blocks and one script
    assert "<img" not in page and "alert(1)</" not in page


def test_policy_hashes_match_script_and_style():
    page = render_page({**MINIMAL, "pseudonym": "x"}, {"frames": []})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_assets_load_nothing_and_insert_no_markup():
    for name in (*SCRIPTS, "page.css", "page.html", "index.css", "index.html"):
        text = asset(name)
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|//cdn", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text), (
            name
        )
        assert len(text.splitlines()) < 300, name
