"""A tiny study: generated image sets that are named like the real ones, and teachers of one convolution."""

from pathlib import Path

import numpy as np
from PIL import Image

from experiments.agglo_study.plan import StudySettings
from monai_agglo.distill.probes.probe import ProbeSettings

TEACHERS = {"wide": "cache_teachers:Wide", "coarse": "cache_teachers:Coarse"}

NAMES = {
    "us_breast_busbra": [f"benign_{number:04d}-{side}.png" for number in range(8) for side in "lr"],
    "cxr_lung_shenzhen_montgomery": [f"CHNCXR_{number:04d}_0.png" for number in range(12)],
    "ct_aorta": [f"10002_{number}.png" for number in range(3)],
}
LICENCES = {
    "us_breast_busbra": "CC BY 4.0 (*)",
    "cxr_lung_shenzhen_montgomery": "Repo: MIT. Data: free (*)",
    "ct_aorta": "CC BY 4.0 (README)",
}


def write_set(folder: Path, names: list[str], licence: str, side: int = 80) -> None:
    """Bright discs on noise; masks with soft edges, as JPEG and antialiasing leave them."""
    # Of pictures on which no cell of a random teacher lies near zero, where 8 bits hold no direction.
    rng = np.random.default_rng([2, len(folder.name)])
    rows, columns = np.mgrid[:side, : side + 16]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in names:
        row, column, radius = rng.uniform(25, side - 25), rng.uniform(25, side - 10), rng.uniform(10, 20)
        edge = np.clip(radius - np.hypot(rows - row, columns - column) + 0.5, 0, 1)
        picture = 60 + 110 * edge + rng.normal(0, 12, edge.shape)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        mask = (edge * 255).astype(np.uint8)
        if folder.name == "us_breast_busbra":
            mask = np.stack([0 * mask, mask, 0 * mask], -1)
        Image.fromarray(mask).save(folder / "masks" / name)
    (folder / "SOURCE.md").write_text(f"# {folder.name}\nLicence: {licence}\n", encoding="utf-8")


def write_data(root: Path) -> Path:
    """Three sets, one of which has no task."""
    for name, images in NAMES.items():
        write_set(root / name, images, LICENCES[name])
    return root


def tiny_settings(**changes) -> StudySettings:
    """A study of seconds."""
    values = {
        "teachers": ("wide", "coarse"),
        "simple": "wide",
        "coarse": "coarse",
        "targets": ("phi_s",),
        "balancings": ("equal", "mlp_stable"),
        "variants": ("tchebycheff+phi_s",),
        "other_students": ("lcnet_075",),
        "backbone": "lcnet_050",
        "frame": 96,
        "size": 96,
        "zoom": None,
        "steps": 2,
        "final_steps": 4,
        "ship_steps": 8,
        "batch": 4,
        "tasks": ("us_breast_busbra", "cxr_lung_shenzhen_montgomery", "ct_aorta"),
        "screen_tasks": ("us_breast_busbra",),
        "screen_shots": (0,),
        "shots": (4, 0),
        "tuned_shots": (4,),
        "seeds": 2,
        "best": 1,
        "on_other_students": 1,
        "phantom": (5, 1),
        "probe": ProbeSettings(steps=2, tuned_steps=1, batch=4, channels=8),
        "random_teachers": True,
    }
    return StudySettings(**{**values, **changes})
