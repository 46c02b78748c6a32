import dataclasses

import numpy as np
import pytest

from monai_agglo.phantom import PhantomSpec, PhantomStudy, SwallowSpec
from monai_agglo.phantom.lateral import VISIBLE_BARIUM
from monai_agglo.swallow import NAMES, TARGET_NAMES

SMALL = {"rows": 160, "cols": 160}

# area % of the image and centroid (x, y) of VFSS-5K at 512 x 512 as far as it is known (arXiv 2504.02351, figures)
PRIORS = {
    "epiglottis": (0.70, 232, 348), "mandible": (8.50, 121, 312), "c1": (2.02, 270, 142), "c2": (2.68, 312, 200),
    "c3": (1.67, 324, 255), "c4": (1.67, 346, 302), "c5": (1.67, 371, 345), "c6": (1.82, 400, 390),
    "c7": (1.44, 412, 435), "trachea": (2.94, 284, 441),
}  # fmt: skip


def masks_of(study, t):
    return dict(zip(NAMES, study.frame(t)[1]))


def test_frames_do_not_depend_on_the_order_of_access():
    spec = PhantomSpec.sample(2, **SMALL)
    forward = PhantomStudy(spec)
    frames = [forward.frame(t) for t in range(5)]
    backward = PhantomStudy(spec)
    for t in (3, 1, 4, 0, 2):
        image, masks = backward.frame(t)
        assert np.array_equal(image, frames[t][0]) and np.array_equal(masks, frames[t][1])


def test_seeds_give_different_images():
    a, b = (PhantomStudy(PhantomSpec.sample(s, **SMALL)).frame(0)[0] for s in (0, 1))
    assert a.shape == b.shape == (160, 160) and not np.array_equal(a, b)


@pytest.mark.parametrize("seed", range(6))
def test_values_and_masks_respect_the_spec(seed):
    spec = PhantomSpec.sample(seed, **SMALL)
    study = PhantomStudy(spec)
    image, masks = study.frame(study.n_frames - 1)
    assert image.dtype == np.uint16 and image.max() < 1 << spec.bits_stored
    assert masks.shape == (18, 160, 160) and masks.dtype == bool
    assert not (masks & ~study.field_mask).any()
    dark = image.min() if spec.photometric == "MONOCHROME2" else image.max()
    if not study.field_mask.all():
        assert np.median(image[~study.field_mask]) == dark


def test_anatomy_agrees_with_the_priors():
    """Mean over patients in the atlas framing: areas within a factor of 1.5, centroids within 32 of 512 pixels."""
    found: dict[str, list] = {name: [] for name in PRIORS}
    for seed in range(8):
        masks = masks_of(PhantomStudy(PhantomSpec(seed=seed, anatomy_seed=seed, rows=256, cols=256, field="none")), 2)
        for name in PRIORS:
            y, x = np.nonzero(masks[name])
            found[name].append((100 * masks[name].mean(), 2 * x.mean(), 2 * y.mean()))
    for name, (area, x, y) in PRIORS.items():
        mean = np.mean(found[name], 0)
        assert area / 1.5 < mean[0] < area * 1.5, name
        assert np.hypot(mean[1] - x, mean[2] - y) < 32, name


def test_vertebrae_follow_each_other_down_the_neck():
    for seed in range(4):
        masks = masks_of(PhantomStudy(PhantomSpec(seed=seed, anatomy_seed=seed, field="none", **SMALL)), 0)
        heights = [np.nonzero(masks[f"c{k}"])[0].mean() for k in range(1, 8)]
        assert heights == sorted(heights)


def test_facing_right_is_the_mirror_of_facing_left():
    left = PhantomStudy(PhantomSpec(facing="left", shift=(0, 0), field="none", **SMALL)).frame(3)[1]
    right = PhantomStudy(PhantomSpec(facing="right", shift=(0, 0), field="none", **SMALL)).frame(3)[1]
    mirrored = right[:, :, ::-1]
    for name in ("mandible", "c3", "trachea"):
        a, b = left[NAMES.index(name)], np.roll(mirrored[NAMES.index(name)], 1, 1)
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.95


def test_bolus_is_dark_and_moves_down():
    spec = PhantomSpec(swallows=(SwallowSpec(onset_s=1.6, volume_ml=10, barium_mu=0.5),), dose=1e5, **SMALL)
    study = PhantomStudy(spec)
    events = study.events
    rows = []
    for name in ("bpm", "ueso", "uesc"):
        image, masks = study.frame(events[name])
        bolus = masks[NAMES.index("bolus")]
        assert image[bolus].mean() < 0.6 * image[study.field_mask & ~bolus].mean()
        rows.append(np.nonzero(bolus)[0].mean())
    assert rows[0] < rows[1] < rows[2]


def test_no_swallow_has_no_bolus_and_no_events():
    study = PhantomStudy(PhantomSpec(swallows=(), n_frames=6, **SMALL))
    assert study.events == {} and study.swallows == []
    assert not any(study.frame(t)[1][NAMES.index("bolus")].any() for t in range(6))


def test_aspiration_puts_barium_into_the_trachea_only_then():
    def overlap(airway):
        swallow = SwallowSpec(onset_s=1.6, airway=airway, airway_depth=0.8, barium_mu=0.5)
        study = PhantomStudy(PhantomSpec(swallows=(swallow,), **SMALL))
        masks = masks_of(study, study.n_frames - 1)
        below = masks["trachea"] & ~masks["laryngeal_vestibule"]
        return (masks["bolus"] & below).sum()

    assert overlap("aspiration") > 20 and overlap("none") == 0


def test_repeated_frames_are_repeated():
    spec = PhantomSpec(n_frames=5, frame_rate=15.0, recorded_rate=30.0, **SMALL)
    study = PhantomStudy(spec)
    assert study.n_frames == 10 and np.allclose(np.diff(study.frame_times_ms), 1000 / 30)
    assert np.array_equal(study.frame(2)[0], study.frame(3)[0])
    assert not np.array_equal(study.frame(3)[0], study.frame(4)[0])
    assert all(t % 2 == 0 for t in study.events.values() if t is not None)


def test_monochrome1_is_the_inverse():
    one = PhantomStudy(PhantomSpec(photometric="MONOCHROME1", **SMALL)).frame(4)[0]
    two = PhantomStudy(PhantomSpec(photometric="MONOCHROME2", **SMALL)).frame(4)[0]
    assert np.array_equal(255 - one, two)


def test_more_dose_less_noise():
    def image(dose):
        return PhantomStudy(PhantomSpec(dose=dose, sharpening=0, **SMALL)).frame(2)[0].astype(float)

    clean = image(1e9)
    few, many = (np.abs(image(dose) - clean).mean() for dose in (800, 50000))
    assert few > 3 * many


def test_quantities_agree_with_the_spec():
    spec = PhantomSpec.sample(5, **SMALL)
    study = PhantomStudy(spec)
    q = study.quantities
    assert q["pixels_per_mm"] == pytest.approx(spec.magnification / spec.pixel_spacing_mm)
    assert 25 < q["c2c4_mm"] < 55
    for swallow, given in zip(q["swallows"], spec.swallows):
        assert swallow["ues_open_duration_s"] == pytest.approx(given.ues_open_s)
        assert swallow["swallow_reaction_time_s"] == pytest.approx(given.reaction_s)


def test_ap_view_labels_only_what_it_shows():
    study = PhantomStudy(PhantomSpec(view="ap", **SMALL))
    masks = masks_of(study, study.events["ueso"])
    assert masks["bolus"].any() and masks["trachea"].any()
    assert not any(masks[name].any() for name in TARGET_NAMES if name not in ("bolus", "trachea"))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rows": 10}, "64 to 4096"), ({"n_frames": 0}, "at least one frame"), ({"bits_stored": 9}, "bits_stored"),
     ({"view": "oblique"}, "view is")],
)  # fmt: skip
def test_impossible_studies_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PhantomStudy(PhantomSpec(**change))


def test_frame_out_of_range():
    study = PhantomStudy(PhantomSpec(n_frames=3, **SMALL))
    with pytest.raises(IndexError):
        study.frame(3)


def test_vertebrae_behind_the_shoulder_have_no_mask():
    """Raising the shoulders hides the lower vertebrae one after the other, and never a higher one before a lower."""
    base = PhantomSpec.sample(3, rows=256, cols=256, view="lateral", lut="linear", window=(2.0, 98.0), field="none")
    seen = []
    for shoulder in (-60.0, 40.0, 130.0):
        study = PhantomStudy(base.replace(shoulder=shoulder, shift=(0.0, 0.0), zoom=0.9))
        masks = study.frame(0)[1]
        for name in study.hidden:
            assert not masks[NAMES.index(name)].any()
        levels = [int(name[1]) for name in study.hidden]
        assert levels == list(range(8 - len(levels), 8))
        seen.append(7 - len(levels))
    assert seen[0] == 7 and seen[0] >= seen[1] >= seen[2] and seen[2] < 7


def test_the_bolus_mask_leaves_out_the_penumbra_of_its_border():
    """The mask is the barium of at least the named optical depth; around it lies thinner barium without a mask."""
    swallow = SwallowSpec(onset_s=1.6, volume_ml=10, barium_mu=0.25, coating=0.0)
    study = PhantomStudy(PhantomSpec(swallows=(swallow,), field="none", **SMALL))
    pulse = study.events["ueso"]
    state, sway = study.state(pulse), study.sway(pulse)
    patient = study.patient
    barium = patient.barium(patient.canvas(sway), patient.geometry(state), state)
    bolus = study.frame(pulse)[1][NAMES.index("bolus")]
    assert VISIBLE_BARIUM == 0.55 and np.array_equal(bolus, barium > VISIBLE_BARIUM)
    thin = (barium > 0.1) & ~bolus
    assert 0.05 < thin.sum() / bolus.sum() < 0.8


@pytest.mark.parametrize("seed", range(8))
def test_a_drawn_bolus_has_a_mask(seed):
    """Also the faintest contrast agent that is drawn passes the threshold in the middle of a bolus."""
    swallow = SwallowSpec.sample(np.random.default_rng(seed), 1.2)
    swallow = dataclasses.replace(swallow, barium_mu=0.12, volume_ml=8.0)
    study = PhantomStudy(PhantomSpec.sample(seed, swallows=(swallow,), field="none", shift=(0, 0), **SMALL))
    assert study.frame(study.events["ueso"])[1][NAMES.index("bolus")].sum() > 20


@pytest.mark.parametrize("seed", (9001, 9010, 9013, 9017))
def test_bolus_is_seen_in_the_open_sphincter(seed):
    """However narrow it is and however faint the contrast agent: an event that nobody can see is none."""
    study = PhantomStudy(PhantomSpec.sample(seed, **SMALL))
    opens, closes = study.events["ueso"], study.events["uesc"]
    bolus, gate = NAMES.index("bolus"), NAMES.index("ues")
    masks = study.frame((opens + closes) // 2)[1]
    assert (masks[bolus] & masks[gate]).sum() > 0.2 * masks[gate].sum() > 0


def test_a_faint_vertebra_between_two_that_show_keeps_its_mask():
    for seed in range(12):
        study = PhantomStudy(PhantomSpec.sample(seed, **SMALL))
        hidden = {int(name[1]) for name in study.hidden}
        shown = [k for k in range(1, 8) if k not in hidden and masks_of(study, 0)[f"c{k}"].any()]
        assert not shown or not any(shown[0] < k < shown[-1] for k in hidden)
