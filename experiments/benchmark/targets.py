"""Targets beside measured figures: whether met, and the bottleneck if not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .encoder_zoo import OTHERS, OURS, OURS_AT
from .files import JPEG

__all__ = ["figures", "targets"]

RIVALS = ("litemedsam", "mobilesam", "medsam")
WANTED: tuple[tuple[str, str, float, str, str], ...] = (
    ("DICOM to masks, fp32", "end_to_end_fps/fp32", 30, ">=", "frames/s"),
    ("DICOM to masks, int8", "end_to_end_fps/int8", 60, ">=", "frames/s"),
    ("encoder alone, two threads", "encoder_fps/2", 60, ">=", "frames/s"),
    ("encoder alone, one thread", "encoder_fps/1", 40, ">=", "frames/s"),
    ("encoder beside LiteMedSAM's", "encoder_ratio/litemedsam", 25, ">=", "times"),
    ("encoder beside MobileSAM's", "encoder_ratio/mobilesam", 25, ">=", "times"),
    ("encoder beside MedSAM's", "encoder_ratio/medsam", 250, ">=", "times"),
    ("memory of predict, 3,000 over 300 frames", "memory_growth", 1.1, "<=", "times"),
    ("memory of predict, 3,000 frames", "peak_mb/3000", 600, "<=", "MB"),
    ("fresh process, 30 frames to masks", "cold_start_cpu_s", 4, "<=", "s of processor time"),
    ("fresh process, relative to the older checkout", "cold_start_ratio", 0.25, "<=", "times"),
    ("wrong path answered", "wrong_path_s", 1, "<=", "s"),
    ("help", "help_s", 0.5, "<=", "s"),
    ("memory of the child of serve", "serve_child_mb", 350, "<=", "MB"),
    ("reading a JPEG cine", f"dicom_read_fps/{JPEG}", 150, ">=", "frames/s"),
    ("training step rate with its loader", "train_loader_ratio", 0.95, ">=", "of that without"),
    ("Dice lost by int8", "int8_dice_loss", 0.3, "<=", "points"),
)
"""Name, figure, target, direction, unit: for two cores, 512 px and the default ``vfss_seg``."""


def figures(suites: dict[str, Any]) -> dict[str, Any]:
    """Headline figures of the suites; None if not measured.

    Args:
        suites: results by name of the suite.

    Returns:
        Plain JSON.
    """
    encoders, reading = suites.get("encoders", {}), suites.get("reading", {})
    whole, train = suites.get("end_to_end", {}), suites.get("training", {})
    rows = [row for row in encoders.get("rows", []) if "ms" in row]
    eager = [row for row in rows if row["runtime"] == "pytorch"]
    most = max((row["threads"] for row in eager), default=None)
    encoder_ms: dict[str, dict[str, float]] = {}
    for row in eager:
        if row["threads"] == most:
            encoder_ms.setdefault(row["model"], {})[str(row["size"])] = row["ms"]
    ours = [row for row in rows if row["model"] == OURS and row["size"] == OURS_AT]
    best = {threads: max((r["per_s"] for r in ours if r["threads"] == threads), default=None) for threads in (1, 2)}
    ratio = _headline_ratio(encoders.get("ratios", []))
    peaks = {str(row["frames"]): row.get("peak_mb") for row in suites.get("growth", {}).get("frames", [])}
    fractions = [row["roof_fraction"] for row in ours if "roof_fraction" in row and row["threads"] == 2]
    masks = [row for row in whole.get("settings", []) if row["case"] == JPEG and "per_s" in row]
    speeds = {kind: max((r["per_s"] for r in masks if r["setting"].endswith(kind)), default=None)
              for kind in ("fp32", "int8")}  # fmt: skip
    losses = [r for r in suites.get("precision", {}).get("rows", [])
              if r["precision"] == "int8" and "dice_loss_points" in r]  # fmt: skip
    trained: dict[str, Any] = next((row for row in train.get("rows", []) if row["bundle"] == "vfss_seg"), {})
    large, small = peaks.get("3000"), peaks.get("300")
    return {
        "end_to_end_fps": speeds,
        "encoder_ms": encoder_ms,
        "encoder_ms_is": f"PyTorch eager, float32, {most} threads, milliseconds per image",
        "encoder_fps": {str(threads): value for threads, value in best.items()},
        "encoder_ratio": {name: ratio.get(name) for name in RIVALS},
        "encoder_ratio_is": "" if not ratio else
        f"{ratio['runtime']}, {ratio['threads']} threads, float32: ours at {OURS_AT} px, theirs at their own size",
        "roofline_fraction": max(fractions, default=None),
        "peak_mb": {"300": small, "3000": large},
        "memory_growth": large / small if large and small else None,
        "dicom_read_fps": {row["syntax"]: row["per_s"] for row in reading.get("rows", []) if "per_s" in row},
        "train_loader_ratio": trained.get("loader_ratio"),
        **_start_up(suites.get("start_up", {})),
        "int8_dice_loss": max((row["dice_loss_points"] for row in losses), default=None),
    }  # fmt: skip


def _start_up(suite: dict[str, Any]) -> dict[str, Any]:
    """Figures of fresh processes, and those of the older checkout of the same run under ``before``."""
    if not suite:
        return dict.fromkeys(("cold_start_cpu_s", "cold_start_ratio", "wrong_path_s", "help_s", "serve_child_mb"))
    short, long = (f"predict, {count} frames" for count in suite["frames"])
    rows = {(row["task"], row["code"]): row for row in suite["rows"]}

    def of(code: str) -> dict[str, Any]:
        return {
            "cold_start_cpu_s": rows[short, code]["cpu_s"],
            "wrong_path_s": rows["wrong path", code]["wall_s"],
            "help_s": rows["help", code]["wall_s"],
            "serve_child_mb": rows["child of serve", code]["peak_mb"],
            "peak_mb": {str(suite["frames"][1]): rows[long, code]["peak_mb"]},
        }

    found = of("after")
    del found["peak_mb"]  # of the suite "growth", with the other lengths
    if (short, "before") not in rows:
        return found | {"cold_start_ratio": None}
    before = of("before")
    return found | {"cold_start_ratio": found["cold_start_cpu_s"] / before["cold_start_cpu_s"], "before": before}


def _headline_ratio(ratios: list[dict[str, Any]]) -> dict[str, Any]:
    """The runtime with most other encoders; among equals, with most threads, the fastest for ours."""
    if not ratios:
        return {}
    return max(ratios, key=lambda row: (sum(name in row for name in RIVALS), row["threads"], -row["ours_ms"]))


def targets(
    found: dict[str, Any], suites: dict[str, Any], computer: dict[str, Any], quick: bool = False
) -> list[dict[str, Any]]:
    """Compare the figures with the targets.

    Args:
        found: from :func:`figures`.
        suites: results by name of the suite.
        computer: from :func:`~.machine.computer`.
        quick: figures of tiny sizes, without a verdict.

    Returns:
        Rows of ``name``, ``measured``, ``target``, ``sense``, ``unit``, ``met`` (None when not measured) and ``bound``,
        the measured bottleneck of a missed target.
    """
    rows = []
    for name, place, aim, sense, unit in WANTED:
        value: Any = found
        for part in place.split("/", 1):
            value = None if value is None else value.get(part)
        met = None if value is None or quick else (value >= aim if sense == ">=" else value <= aim)
        row = {"name": name, "measured": value, "target": aim, "sense": sense, "unit": unit, "met": met, "bound": ""}
        if met is False:
            row["bound"] = next(
                (why(suites, computer, place) for key, why in _BOUNDS.items() if place.startswith(key)), ""
            )
        rows.append(row)
    return rows


def _bound_whole(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    kind = place.rpartition("/")[2]
    network = _network_rate(suites, kind)
    text = "" if network is None else f"the network alone, from frames in memory, gives {network:.0f} frames/s"
    if kind == "int8":
        plain = _network_rate(suites, "fp32")
        has = "VNNI" if computer.get("vnni") else "no VNNI or AMX"
        text += f"; the processor has {has} instructions for 8-bit products"
        if plain and network:
            text += f": int8 runs at {network / plain:.2f} times the rate of fp32"
    return text


def _network_rate(suites: dict[str, Any], kind: str) -> float | None:
    """Frames/s of the network alone, of the best setting of a kind."""
    rows = suites["end_to_end"]["settings"]
    rates = [r["per_s"] for r in rows if r["setting"].endswith(kind) and r["case"] == "network" and "per_s" in r]
    return max(rates, default=None)


def _bound_encoder(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    threads = int(place.rpartition("/")[2])
    wanted = (OURS, OURS_AT, threads)
    rows = [row for row in suites["encoders"]["rows"]
            if (row["model"], row["size"], row["threads"]) == wanted and "roof_fraction" in row]  # fmt: skip
    if not rows:
        return ""
    best = min(rows, key=lambda row: row["ms"])
    return (
        f"{best['ms']:.1f} ms per image, where its layers one by one need at least {best['layer_roof_ms']:.1f} ms at "
        f"the measured rates (mostly {best['bound']}) and all at once {best['roof_ms']:.1f} ms"
    )


def _bound_ratio(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    name = place.rpartition("/")[2]
    rows = [row for row in suites["encoders"]["rows"] if "roof_fraction" in row]
    ratio = _headline_ratio(suites["encoders"]["ratios"])
    if not ratio:
        return ""

    def of(model: str, size: int) -> dict[str, Any] | None:
        same = [row for row in rows if row["model"] == model and row["size"] == size
                and (row["runtime"], row["threads"]) == (ratio["runtime"], ratio["threads"])]  # fmt: skip
        return min(same, key=lambda row: row["ms"], default=None)

    mine, theirs = of(OURS, OURS_AT), of(name, OTHERS[name].own)
    if mine is None or theirs is None:
        return ""
    return (
        f"by multiply-adds {theirs['gmacs'] / mine['gmacs']:.0f} times would be possible; theirs, in large matrix "
        f"products, reaches {100 * theirs['roof_fraction']:.0f} % of the roof, ours, in thin layers, "
        f"{100 * mine['roof_fraction']:.0f} %"
    )


def _bound_memory(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    peaks = [f"{row['peak_mb']:.0f} MB at {row['frames']}" for row in suites["growth"]["frames"] if row.get("peak_mb")]
    return "peaks of predict: " + ", ".join(peaks) + " frames" if peaks else ""


def _bound_reading(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    row = next(row for row in suites["reading"]["rows"] if row["syntax"] == JPEG)
    size = row["file_bytes"] / suites["reading"]["frames"] / 1e3
    return f"one thread, {row['cpu_ms']:.1f} ms of processor time per frame of {size:.0f} kB"


def _bound_loader(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    row = next(row for row in suites["training"]["rows"] if row["bundle"] == "vfss_seg")
    return (
        f"the trainer waits {row['load_ms']:.0f} ms for a batch of {row['batch']}, augmented in the same process, in a "
        f"step of {row['step_ms']:.0f} ms"
    )


def _bound_dice(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    rows = [row for row in suites["precision"]["rows"] if row["precision"] == "int8" and "changed_pixels_pct" in row]
    return ", ".join(f"{row['runtime']} changes {row['changed_pixels_pct']:.2f} % of the pixels" for row in rows)


def _bound_start(suites: dict[str, Any], computer: dict[str, Any], place: str) -> str:
    rows = [f"{row['task']} {row['cpu_s']:.1f} s" for row in suites["start_up"]["rows"] if row["code"] == "after"]
    return "processor time: " + ", ".join(rows)


_BOUNDS: dict[str, Callable[[dict[str, Any], dict[str, Any], str], str]] = {
    "end_to_end_fps": _bound_whole,
    "encoder_fps": _bound_encoder,
    "encoder_ratio": _bound_ratio,
    "memory_growth": _bound_memory,
    "peak_mb": _bound_memory,
    "dicom_read_fps": _bound_reading,
    "train_loader_ratio": _bound_loader,
    "int8_dice_loss": _bound_dice,
    **dict.fromkeys(("cold_start", "wrong_path_s", "help_s", "serve_child_mb"), _bound_start),
}
