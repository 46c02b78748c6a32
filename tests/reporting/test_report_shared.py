"""The shipped bundle rejects a real coronary angiogram."""

import os
from pathlib import Path

import pytest

from monai_agglo.reporting import report

SHARED = Path(os.environ.get("AGGLO_SHARED", Path(__file__).parents[3] / "shared"))
ANGIOGRAM = SHARED / "dicom" / "fo-dicom+fo-dicom" / "HasFragmentSequence.dcm"


@pytest.mark.skipif(not ANGIOGRAM.is_file(), reason="AGGLO_SHARED has no XA cine")
def test_coronary_angiogram_is_rejected(tmp_path, own_key):
    done = report(ANGIOGRAM, tmp_path / "o", size=192, device="cpu")
    content = done.cases[0].content
    assert content["verdict"]["kind"] == "other" and content["swallows"] == [] and content["curves"] == {}
    assert "does not look like a lateral swallow study" in str(done)
    text = done.cases[0].page.read_text(encoding="utf-8")
    assert "does not look like a lateral swallow study" in text
    assert len(text) < 4_000_000 and content["frames"]["count"] == 96
