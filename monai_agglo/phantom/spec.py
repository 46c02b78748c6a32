"""Specification of a synthetic study: all parameters of a phantom patient, its swallows and its X-ray system."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from .look import draw_look

__all__ = ["ATLAS_MM_PER_UNIT", "PhantomSpec", "SwallowSpec"]

ATLAS_MM_PER_UNIT = 0.37
"""Millimetres in the patient's median plane per atlas unit (a 512 x 512 grid, see ``atlas.py``)."""

PULSE_RATES = (7.5, 12.5, 15.0, 25.0, 30.0)


@dataclass(frozen=True)
class SwallowSpec:
    """One swallow of one bolus.

    Args:
        onset_s: time of the hyoid burst (HYB), s from the first frame.
        volume_ml: swallowed volume, 1..20 ml.
        iddsi: consistency, IDDSI level 0 (thin) .. 4 (extremely thick); sets speed and spread of the bolus.
        barium_mu: attenuation of the bolus material, 1/mm at the effective energy (0.12 faint .. 0.5 dense).
        reaction_s: swallow reaction time: hyoid burst minus bolus passing the mandible (BPM), s.
        pharyngeal_s: transit time of the bolus head from the ramus to the upper oesophageal sphincter, s.
        ues_open_s: duration of UES opening, s.
        closure_delay_s: hyoid burst to laryngeal vestibule closure (LVC), s.
        closure_s: duration of laryngeal vestibule closure, s.
        excursion_mm: peak hyoid excursion (anterior, superior), mm.
        inversion: epiglottic inversion, 0 (none) .. 1 (complete).
        constriction: pharyngeal constriction, 0 (none) .. 1 (complete obliteration).
        residue_valleculae, residue_pyriform: filled fraction after the swallow, 0..1.
        coating: barium film left on the walls, 0..1.
        spill: fraction of the valleculae filled before the swallow starts, 0..1.
        airway: ``"none"``, ``"penetration"`` (above the vocal folds) or ``"aspiration"`` (below them).
        airway_depth: depth of the airway bolus, 0..1 of the vestibule (penetration) or of the visible trachea.
        cough: whether a cough follows the airway event.
        piecemeal: fraction of the volume that stays in the mouth, 0..0.6.
    """

    onset_s: float
    volume_ml: float = 5.0
    iddsi: int = 0
    barium_mu: float = 0.25
    reaction_s: float = 0.15
    pharyngeal_s: float = 0.45
    ues_open_s: float = 0.45
    closure_delay_s: float = 0.25
    closure_s: float = 0.45
    excursion_mm: tuple[float, float] = (10.0, 10.0)
    inversion: float = 1.0
    constriction: float = 0.9
    residue_valleculae: float = 0.0
    residue_pyriform: float = 0.0
    coating: float = 0.2
    spill: float = 0.0
    airway: str = "none"
    airway_depth: float = 0.5
    cough: bool = False
    piecemeal: float = 0.0

    @classmethod
    def sample(cls, rng: np.random.Generator, onset_s: float) -> SwallowSpec:
        """Sample a swallow, healthy or impaired, from ranges around published values (docs/explanation/phantom.md)."""
        impaired = rng.random() < 0.5
        iddsi = int(rng.choice(5, p=[0.45, 0.15, 0.2, 0.1, 0.1]))
        slow = 1 + 0.15 * iddsi + (rng.uniform(0, 0.8) if impaired else 0)
        airway = "none"
        if rng.random() < (0.35 if impaired else 0.06):
            airway = "aspiration" if rng.random() < 0.45 else "penetration"
        return cls(
            onset_s=onset_s,
            volume_ml=float(np.clip(rng.lognormal(np.log(6), 0.7), 1, 20)),
            iddsi=iddsi,
            barium_mu=float(np.exp(rng.uniform(np.log(0.12), np.log(0.5)))),
            reaction_s=float(rng.normal(0.15, 0.12) + (rng.uniform(0, 0.8) if impaired else 0)),
            pharyngeal_s=float(np.clip(rng.normal(0.42, 0.08) * slow, 0.25, 1.4)),
            ues_open_s=float(np.clip(rng.normal(0.45, 0.08) * slow, 0.2, 1.2)),
            closure_delay_s=float(np.clip(rng.normal(0.22, 0.06) * slow, 0.08, 0.8)),
            closure_s=float(np.clip(rng.normal(0.5, 0.12), 0.2, 1.2)),
            excursion_mm=(float(rng.uniform(3, 16)), float(rng.uniform(3, 18))),
            inversion=float(rng.uniform(0.1, 0.8) if impaired and rng.random() < 0.4 else rng.uniform(0.85, 1)),
            constriction=float(rng.uniform(0.4, 0.85) if impaired else rng.uniform(0.85, 0.98)),
            residue_valleculae=float(rng.beta(1, 2) if impaired and rng.random() < 0.75 else rng.uniform(0, 0.12)),
            residue_pyriform=float(rng.beta(1, 2) if impaired and rng.random() < 0.65 else rng.uniform(0, 0.08)),
            coating=float(rng.beta(1, 3.5)),
            spill=float(rng.uniform(0.2, 1) if rng.random() < 0.25 else 0),
            airway=airway,
            airway_depth=float(rng.uniform(0.15, 1)),
            cough=bool(airway == "aspiration" and rng.random() < 0.5),
            piecemeal=float(rng.uniform(0.1, 0.6) if rng.random() < 0.2 else 0),
        )


@dataclass(frozen=True)
class PhantomSpec:
    """Full specification of one synthetic study; equal specs give equal pixels.

    Args:
        seed: random seed of shape detail, texture and noise.
        patient_id: pseudonymous patient id; studies of one patient share the anatomy (``anatomy_seed``).
        anatomy_seed: seed of the patient's anatomy.
        rows, cols: image size, pixels.
        n_frames, frame_rate: X-ray pulses recorded, and per second.
        recorded_rate: frames per second in the file; when larger than ``frame_rate``, frames repeat.
        bits_stored: 8, 10 or 12.
        photometric: ``"MONOCHROME2"`` (barium dark) or ``"MONOCHROME1"`` (stored inverted).
        pixel_spacing_mm: pixel size at the detector, mm.
        magnification: source-detector over source-patient distance.
        view: ``"lateral"`` or ``"ap"``.
        facing: ``"left"`` or ``"right"``: viewing direction of the patient in a lateral image.
        age: years; scales proportions, degeneration and cartilage calcification.
        zoom: image scale relative to the atlas framing (1 = 512 atlas units across the shorter side).
        shift: displacement of the anatomy, fractions of the shorter side (right, down).
        tilt_deg: rotation of the whole image, degrees.
        flexion_deg: head flexion (positive) or extension, degrees.
        lordosis, kyphosis: curvature of the neck, about -1..1.
        shoulder: height of the shoulders in the field, atlas units up (+) or down (-).
        build: thickness of soft tissue relative to the mean.
        jaw_opening_deg: opening of the mouth before the swallow.
        osteophytes: degenerative bone spurs, 0..1.
        hardware: subset of ``plate, feeding_tube, tracheostomy, fillings, crowns, dentures, wires, spoon, marker,
            earring, bridge, implants, clips, hairclip``.
        kvp: tube voltage; lower gives more bone contrast.
        dose: detected quanta per pixel of the open field.
        scatter, glare: scatter-to-primary ratio behind the neck; veiling-glare fraction.
        blur_px: Gaussian sigma of focal spot and detector at 512 px, pixels.
        lag, heel: remaining fraction of the previous frame; relative intensity slope along the anode axis.
        field, field_size: its limits (``"circle"``, ``"rectangle"``, ``"both"``, ``"none"``), size (1 = the image).
        lut: ``"log"``, ``"linear"`` or ``"sigmoid"`` display curve.
        window: percentiles of the anatomy mapped to black and white.
        gamma: exponent of the display curve.
        harmonisation: dynamic-range compression, 0..1 (large-scale contrast removed).
        sharpening: edge enhancement, 0..2.
        halo_px: Gaussian sigma of its unsharp mask at 512 px, pixels; wide masks cause halos.
        grain_px: Gaussian sigma of the system's noise reduction at 512 px, pixels.
        video_scale, video_quality: size (0..1) and JPEG quality of an intermediate video export; quality 0 = none.
        burnt_in_text: text burnt into the corner outside the field, or None.
        swallows: the swallows in order of time.
    """

    seed: int = 0
    patient_id: str = "PHANTOM-0"
    anatomy_seed: int = 0
    rows: int = 512
    cols: int = 512
    n_frames: int = 60
    frame_rate: float = 15.0
    recorded_rate: float = 15.0
    bits_stored: int = 8
    photometric: str = "MONOCHROME2"
    pixel_spacing_mm: float = 0.48
    magnification: float = 1.3
    view: str = "lateral"
    facing: str = "left"
    age: float = 50.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    tilt_deg: float = 0.0
    flexion_deg: float = 0.0
    lordosis: float = 0.0
    kyphosis: float = 0.0
    shoulder: float = 0.0
    build: float = 1.0
    jaw_opening_deg: float = 0.0
    osteophytes: float = 0.0
    hardware: tuple[str, ...] = ("fillings",)
    kvp: float = 75.0
    dose: float = 12000.0
    scatter: float = 0.4
    glare: float = 0.05
    blur_px: float = 0.7
    lag: float = 0.05
    heel: float = 0.1
    field: str = "circle"
    field_size: float = 1.0
    lut: str = "log"
    window: tuple[float, float] = (1.0, 97.0)
    gamma: float = 1.0
    harmonisation: float = 0.0
    sharpening: float = 0.2
    halo_px: float = 2.2
    grain_px: float = 0.0
    video_scale: float = 1.0
    video_quality: int = 0
    burnt_in_text: str | None = None
    swallows: tuple[SwallowSpec, ...] = dataclasses.field(default_factory=lambda: (SwallowSpec(onset_s=1.6),))

    @classmethod
    def sample(cls, seed: int, **overrides: Any) -> PhantomSpec:
        """Draw a patient, a swallow and an X-ray system from ranges wider than any one clinic.

        Args:
            seed: any non-negative integer; the same seed gives the same spec.
            overrides: fields to set after sampling (``rows=256, view="ap"``...).

        Returns:
            The spec.
        """
        rng = np.random.default_rng([seed, 0x5F55])
        look, more_hardware = draw_look(seed)
        age = float(np.clip(rng.normal(60, 22), 2, 95))
        rate = float(rng.choice(PULSE_RATES, p=[0.08, 0.07, 0.35, 0.1, 0.4]))
        kind = rng.choice(["single", "several", "none"], p=[0.75, 0.15, 0.1])
        swallows: list[SwallowSpec] = []
        for k in range({"single": 1, "several": int(rng.integers(2, 4)), "none": 0}[str(kind)]):
            onset = float(rng.uniform(0.9, 1.8)) + (swallows[-1].onset_s + 1.6 if k else 0.0)
            swallows.append(SwallowSpec.sample(rng, onset))
        duration = (swallows[-1].onset_s if swallows else 1.0) + float(rng.uniform(1.6, 2.4))
        hardware = tuple(
            name
            for name, p in (
                ("fillings", 0.6), ("crowns", 0.3), ("dentures", 0.1), ("plate", 0.04), ("feeding_tube", 0.1),
                ("tracheostomy", 0.04), ("wires", 0.08), ("spoon", 0.15), ("marker", 0.12), ("earring", 0.1),
            )
            if rng.random() < p
        )  # fmt: skip
        bits = int(rng.choice([8, 10, 12], p=[0.6, 0.2, 0.2]))
        magnification = float(rng.uniform(1.15, 1.5))
        zoom = float(rng.uniform(0.72, 1.35))
        rows, cols = overrides.get("rows", 512), overrides.get("cols", 512)
        drawn: dict[str, Any] = {
            "seed": seed,
            "patient_id": f"PHANTOM-{seed}",
            "anatomy_seed": seed,
            "n_frames": max(8, round(duration * rate)),
            "frame_rate": rate,
            "recorded_rate": 30.0 if rate in (7.5, 15.0) and rng.random() < 0.25 else rate,
            "bits_stored": bits,
            "photometric": "MONOCHROME1" if rng.random() < 0.12 else "MONOCHROME2",
            "magnification": magnification,
            "pixel_spacing_mm": ATLAS_MM_PER_UNIT * 512 / min(rows, cols) / zoom * magnification,
            "facing": "left" if rng.random() < 0.6 else "right",
            "age": age,
            "zoom": zoom,
            "shift": (float(rng.normal(0, 0.07)), float(rng.normal(0, 0.07))),
            "tilt_deg": float(rng.normal(0, 9)),
            "flexion_deg": float(rng.normal(0, 7)),
            "lordosis": float(rng.normal(0, 0.5)),
            "kyphosis": float(np.clip(rng.normal((age - 50) / 60, 0.5), -1.2, 1.6)),
            "shoulder": float(rng.normal(5, 32) + (rng.uniform(20, 190) if rng.random() < 0.5 else 0)),
            "build": float(np.clip(rng.normal(1, 0.13), 0.7, 1.4)),
            "jaw_opening_deg": float(abs(rng.normal(0, 2.5))),
            "osteophytes": float(np.clip(rng.normal((age - 55) / 45, 0.3), 0, 1)),
            "hardware": hardware + more_hardware,
            "kvp": float(rng.uniform(60, 95)),
            "dose": float(1500 * np.exp(np.log(170) * rng.random() ** 0.65)),  # few noisy systems
            "scatter": float(rng.uniform(0.15, 0.9)),
            "glare": float(rng.uniform(0.01, 0.12)),
            "blur_px": float(rng.uniform(0.4, 1.6)),
            "lag": float(rng.uniform(0, 0.25)),
            "heel": float(rng.normal(0, 0.12)),
            "field": str(rng.choice(["circle", "rectangle", "both", "none"], p=[0.4, 0.25, 0.15, 0.2])),
            "field_size": float(rng.uniform(0.78, 1.12)),
            "lut": str(rng.choice(["log", "linear", "sigmoid"], p=[0.45, 0.2, 0.35])),
            "window": (float(rng.uniform(0, 8)), float(rng.uniform(80, 100))),
            "gamma": float(np.exp(rng.normal(0, 0.28))),
            "harmonisation": float(rng.beta(1, 2) * 0.9),
            "sharpening": float(rng.beta(1, 2.5) * 1.5),
            "burnt_in_text": str(rng.choice(["kV 68", "12:41:07", "R", "SWALLOW 3", "ID 000", "10 ML THIN"]))
            if rng.random() < 0.4
            else None,
            "swallows": tuple(swallows),
            **look,
        }
        drawn.update(overrides)
        return cls(**drawn)

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-able built-ins; :meth:`from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PhantomSpec:
        """Rebuild a spec from :meth:`to_dict`, also after a round trip through JSON.

        Raises:
            ValueError: for an unknown key.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown phantom parameters: {', '.join(unknown)}")
        data: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        swallows: list[dict[str, Any]] = [
            {k: tuple(v) if isinstance(v, list) else v for k, v in dict(s).items()} for s in values.get("swallows", ())
        ]
        data["swallows"] = tuple(SwallowSpec(**swallow) for swallow in swallows)
        return cls(**data)

    def replace(self, **changes: Any) -> PhantomSpec:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)
