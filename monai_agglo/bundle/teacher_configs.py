"""The configs of the teacher bundles: two templates for all of them.

``python -m monai_agglo.bundle.teacher_configs`` writes them anew after a change of a template.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["FEATURES", "PROMPTED", "teacher_configs"]

PROMPTED = ("litemedsam", "medsam", "medsam2")
"""Teachers that segment by boxes and points, and give features beside."""
FEATURES = ("medclip", "rad_dino")
"""Teachers that give features only."""
TEMPLATES = Path(__file__).with_name("templates")


def teacher_configs(name: str) -> dict[str, str]:
    """Render the configs of a teacher's bundle.

    Args:
        name: of :data:`PROMPTED` or :data:`FEATURES`.

    Returns:
        Text by file name under the bundle's ``configs``.

    Raises:
        ValueError: for another teacher, which has no bundle.
    """
    if name not in PROMPTED + FEATURES:
        raise ValueError(f"{name!r} has no bundle; these have: {', '.join(PROMPTED + FEATURES)}")
    if name in FEATURES:
        return {"inference.json": _render("teacher_features.json", name, "TeacherNetwork")}
    return {
        "inference.json": _render("teacher_prompts.json", name, "PromptNetwork"),
        "features.json": _render("teacher_features.json", name, "PromptNetwork"),
    }


def _render(template: str, name: str, network: str) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return text.replace("{name}", name).replace("{network}", network)


def main() -> None:
    """Write the configs of every teacher's bundle in a clone."""
    bundles = Path(__file__).parents[2] / "bundles"
    for name in PROMPTED + FEATURES:
        for file, text in teacher_configs(name).items():
            (bundles / f"{name}_teacher" / "configs" / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
