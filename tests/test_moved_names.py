"""Names that configs and scripts of the first release hold still work, with one warning that names the new place."""

import subprocess
import sys
import warnings
from importlib import import_module
from pydoc import locate

import pytest
from monai.bundle import ConfigParser

from monai_agglo import lazy

APPS = """
DatalistReport DeidentifyReport Exported CacheReport FollowReport CaseResult PredictReport ReportCase
ReportRun ManyReport WeightStatus build_cache calibrate_view_check deidentify describe describe_cache export
fill_model follow get_and_fill get_weights make_datalist predict predict_many probe_student report
ship_student weights_status weights_table
"""
DATA = """
AddPromptGuidanced Cine CineDicomReader CineFrameDataset CineFrames CineReadError CineReader CineVideoReader
EpochBatchSampler FeatureCache FeatureCacheDataset FeatureCacheError FeatureView FitFramesd FlattenStructuresd
LoadCineMasksd MaskStore PackCined PseudonymizeMetad RandCineGeometryd RandFluoroscopyd ResultSource
SaveFeaturesd SaveOverlayd SavePcaPictured ScaleCineIntensityd ShareSampler SrRecord StudentFrameDataset
TeacherStatistics UnpackCined blank_outside build_feature_cache describe_datalist draw_overlay find_field
fit_to_square frame_hash load_datalist open_cine pack_masks pca_colours pseudonym read_cine_masks read_seg
unpack_masks write_contact_sheet write_overlay_dicom write_overlay_video write_pca_picture write_seg write_sr
"""
CONFIGS = """
sources.find_cases distillation.choose_teachers distillation.describe_run distillation.ensure_cache
distillation.make_learners distillation.target_space distillation.tracked_parameters
distillation_data.DistillationData distillation_decoder.make_feature_term distillation_probe.SegmentationProbe
"""


@pytest.fixture(autouse=True)
def untold():
    """As in a new process: nobody was told of any moved name."""
    lazy.warn_moved.cache_clear()


def told(old):
    """What a look at an old name gives, and the one sentence about its new place, None where it has not moved."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = locate(old)
        assert locate(old) is found  # a second look says nothing
    moved = [str(w.message) for w in caught if issubclass(w.category, FutureWarning) and "is now" in str(w.message)]
    assert len(moved) <= 1
    return found, moved[0] if moved else None


@pytest.mark.parametrize("name", (APPS + CONFIGS).split())
def test_a_name_of_apps_works_and_says_where_it_lies(name):
    found, sentence = told(f"monai_agglo.apps.{name}")
    old, _, new = sentence.partition(" is now ")
    assert old == f"monai_agglo.apps.{name}"
    assert not new.startswith("monai_agglo.apps") and locate(new) is found is not None


@pytest.mark.parametrize("name", DATA.split())
def test_a_name_of_data_works(name):
    found, sentence = told(f"monai_agglo.data.{name}")
    assert found is not None
    if sentence is not None:
        assert sentence.startswith(f"monai_agglo.data.{name} is now monai_agglo.")
        assert locate(sentence.rpartition(" ")[2]) is found


def test_what_moved_out_of_data_warns_and_what_stayed_does_not():
    assert told("monai_agglo.data.open_cine")[1] == "monai_agglo.data.open_cine is now monai_agglo.cine.open_cine"
    assert told("monai_agglo.data.CineReader")[1] is None


def test_an_old_config_works(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"")
    parser = ConfigParser(
        {
            "cases": {"_target_": "monai_agglo.apps.sources.find_cases", "source": str(tmp_path)},
            "make": {"_target_": "monai_agglo.apps.distillation.make_learners", "_mode_": "callable"},
            "reader": {"_target_": "monai_agglo.data.CineReader"},
        }
    )
    with pytest.warns(FutureWarning) as caught:
        cases, make, reader = (parser.get_parsed_content(name) for name in ("cases", "make", "reader"))
    assert [str(warning.message) for warning in caught if "monai_agglo" in str(warning.message)] == [
        "monai_agglo.apps.sources.find_cases is now monai_agglo.cine.find_cases",
        "monai_agglo.apps.distillation.make_learners is now monai_agglo.distill.run.make_learners",
    ]
    assert len(cases) == 1 and make is locate("monai_agglo.distill.run.make_learners")
    assert type(reader).__module__ == "monai_agglo.data.cine_reader"


def test_an_old_script_is_told_once(tmp_path):
    code = "from monai_agglo.apps.sources import find_cases\nfrom monai_agglo.data import open_cine\n" * 2
    (tmp_path / "old.py").write_text(code)
    done = subprocess.run([sys.executable, str(tmp_path / "old.py")], capture_output=True, text=True, check=True)
    assert done.stderr.count("is now monai_agglo.cine.find_cases") == 1
    assert done.stderr.count("is now monai_agglo.cine.open_cine") == 1


def test_an_unknown_name_is_an_attribute_error():
    for module in ("monai_agglo.apps", "monai_agglo.apps.sources", "monai_agglo.data"):
        with pytest.raises(AttributeError):
            import_module(module).no_such_name  # noqa: B018
