"""Make docs/images/overview.png, the picture of the README: a synthetic swallow and what the bundle finds in it.

Usage: python -m experiments.overview [--seed 20259] [--bundle DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from monai_agglo.cine.cine import open_cine
from monai_agglo.files import atomic_path
from monai_agglo.phantom import PhantomSpec, PhantomStudy, write_study
from monai_agglo.pictures.drawing import draw_overlay, legend, resize_frame, text_block, to_grey8
from monai_agglo.prediction.segmenter import Segmenter
from monai_agglo.swallow import TARGETS

EVENTS = (("bpm", "bolus passes the mandible"), ("ueso", "the oesophagus opens"), ("rest", "at rest again"))
SIDE = 420


def main() -> None:
    """Write a study, segment it, and draw three of its frames without and with the masks found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=20259, help="of the phantom; not one that the training has seen")
    parser.add_argument("--bundle", default="vfss_seg", help="bundle name or folder")
    parser.add_argument("--study", default="demo_output/overview", help="where the study is written")
    parser.add_argument("--output", type=Path, default=Path("docs/images/overview.png"))
    args = parser.parse_args()

    spec = PhantomSpec.sample(args.seed, field="circle", zoom=0.95, shift=(0.0, 0.0), photometric="MONOCHROME2")
    events = PhantomStudy(spec).events
    cine = open_cine(write_study(spec, args.study).cine)
    segmenter = Segmenter(args.bundle)
    wanted = {events[name]: title for name, title in EVENTS if events.get(name) is not None}
    columns = []
    for result in segmenter.run(cine, segmenter.intensity_range(cine)):
        if result.index not in wanted:
            continue
        plain = np.repeat(resize_frame(to_grey8(result.frame), (SIDE, SIDE))[..., None], 3, -1)
        drawn = np.asarray(Image.fromarray(draw_overlay(result.frame, result.masks)).resize((SIDE, SIDE)))
        columns.append(np.vstack([text_block([wanted[result.index]], SIDE, 16), plain, drawn]))
    picture = np.hstack(columns)
    note = "Synthetic swallow (phantom), masks as found by the vfss_seg bundle. Research use only."
    picture = np.vstack([picture, legend(TARGETS, picture.shape[1], 16), text_block([note], picture.shape[1], 13)])
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.output) as partial:
        Image.fromarray(picture).save(partial, format="PNG", optimize=True)
    print(args.output)


if __name__ == "__main__":
    main()
