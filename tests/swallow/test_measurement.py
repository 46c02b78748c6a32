import pytest

from monai_agglo.swallow import DEFINITIONS, Measurement, reference_for


def test_either_value_or_reason():
    assert Measurement("pcr", 0.1, "ratio").measured
    assert not Measurement.none("pcr", "ratio", "no pharynx").measured
    for value, reason in ((float("nan"), ""), (0.1, "no pharynx")):
        with pytest.raises(ValueError, match="either a value or a reason"):
            Measurement("pcr", value, "ratio", reason=reason)


def test_nan_is_null_in_json():
    content = Measurement.none("pcr", "ratio", "no pharynx").to_json()
    assert content["value"] is None and content["uncertainty"] is None and content["reason"] == "no pharynx"
    content = Measurement("pcr", 0.2, "ratio").with_uncertainty(0.01).to_json()
    assert content["value"] == 0.2 and content["uncertainty"] == 0.01 and content["plus_minus"] is None


@pytest.mark.parametrize(
    ("name", "value", "outside"),
    [("pcr", 0.1, False), ("pcr", 0.2, True), ("ues_open_duration", 0.1, True), ("pharyngeal_area_rest", 62, False),
     ("pharyngeal_area_rest", 140, True), ("nrrs_pyriform", 3, None)],
)  # fmt: skip
def test_outside_the_reference_range(name, value, outside):
    assert Measurement(name, value, "").with_reference(reference_for(name)).outside is outside


def test_references():
    for name in DEFINITIONS:
        for iddsi in (None, *range(5)):
            reference = reference_for(name, iddsi)
            assert reference is None or (reference.text and reference.source)
    assert reference_for("residue_total") is None and "1.15" in reference_for("residue_total", 2).text
    assert reference_for("hyoid_excursion", 0) is None
    missing = Measurement.none("pcr", "ratio", "x").with_reference(reference_for("pcr"))
    assert missing.outside is None and missing.reference != "no range"
