"""The page of a student that is given away, written from the JSON card beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from monai_agglo.distill.probes.phantom_task import PHANTOM

__all__ = ["student_page"]

LIMITS = (
    "Research use only. It is no medical device and must not guide care.",
    "It is an encoder: it gives features, no diagnosis and no mask. What is built on it has to be measured anew.",
    "It knows what its teachers say about the images above, and nothing else: other modalities and other devices are"
    " untested.",
    "Its teachers were trained on images of their own, whose bias it inherits with their features.",
)


def student_page(card: Mapping[str, Any]) -> str:
    """Write a card for people.

    Args:
        card: ``student.json`` as :func:`monai_agglo.distill.ship_student` writes it.

    Returns:
        Markdown; equal cards give equal pages.
    """
    student = card["student"]
    lines = [
        "# The distilled student",
        "",
        f"`models/student.safetensors` is a light encoder (timm's `{student['backbone']}`, {card['parameters']:,}"
        f" parameters with its neck) into which {len(card['teachers'])} teachers were distilled. The segmenter's"
        " encoder starts from it when it is trained from scratch:",
        "",
        "```bash",
        "python -m monai.bundle run --config_file "
        + "\"['bundles/vfss_seg/configs/train.json','bundles/vfss_seg/configs/from_scratch.json']\"",
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| input | {card['input']} |",
        f"| output | {student['out_channels']} features per cell of {student['stride']} x {student['stride']} pixels |",
        f"| method | {card['method']} |",
        f"| weights, SHA-256 | `{card['weights_sha256']}` |",
        *(f"| {key.replace('_', ' ')} | `{card[key]}` |" for key in ("data_hash", "git_revision") if card.get(key)),
        "",
        "## Teachers",
        "",
        *_table(
            ["teacher", "licence", "commercial use", "R2 of its features", "cosine"],
            [
                [t["title"], t["licence"], t["commercial"], *_kept(card.get("retention", {}).get(t["name"]))]
                for t in card["teachers"]
            ],
        ),
        "",
        "Figures are of held-out images: 1 would be every feature of the teacher said again.",
        "",
        "## Images",
        "",
        *_table(["set", "licence"], [[i["name"], i["licence"]] for i in card["images"]]),
        "",
        "No other image was seen. No patient is named in any of them.",
        "",
    ]
    if card.get("probes"):
        lines += ["## Probes", "", *_probes(card["probes"]), ""]
    lines += ["## Limits", "", *(f"- {limit}" for limit in LIMITS), ""]
    lines += [
        "The weights carry Apache-2.0; the terms of the teachers and of the images above go with them.",
        "",
        f"Written by `{card['made_by']}` from `models/student.json`.",
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]


def _kept(row: Mapping[str, float] | None) -> list[str]:
    return ["-", "-"] if row is None else [f"{row['r2']:.3f}", f"{row['cosine']:.3f}"]


def _probes(probes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    settings = list(dict.fromkeys(name for row in probes.values() for name in row))
    body = [
        [
            task,
            str(max(int(row[name]["test_images"]) for name in row)),
            *(f"{row[name]['dice']:.3f}" if name in row else "-" for name in settings),
        ]
        for task, row in probes.items()
    ]
    return [
        "Mean Dice on test images that neither distillation nor selection saw, of a light decoder on the student's map:"
        " the student frozen or tuned along, and the number of training images.",
        "",
        *_table(["task", "test images", *settings], body),
        *_mean(probes),
    ]


def _mean(probes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    real = [fmean(own["dice"] for own in row.values()) for task, row in probes.items() if task != PHANTOM]
    return ["", f"Mean over the {len(real)} real tasks, each over its columns: {fmean(real):.3f}."] if real else []
