"""Session fixtures: a small phantom study and its report."""

import pytest
from browser import Browser, find_chromium

from monai_agglo.phantom import PhantomSpec, write_study
from monai_agglo.reporting import report


@pytest.fixture(scope="session")
def own_key(tmp_path_factory):
    """The same key for pseudonyms as in the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Files of a phantom study: 128 pixels, 40 frames, one swallow with aspiration."""
    spec = PhantomSpec.sample(SEED, rows=128, cols=128)
    return write_study(spec, tmp_path_factory.mktemp("study"), frames=40)


SEED = 4


@pytest.fixture(scope="session")
def reported(study, random_bundle, own_key, tmp_path_factory):
    """The report of the study from its ground-truth masks; random weights give no measurable masks."""
    folder = tmp_path_factory.mktemp("reported") / "out"
    return report(study.cine, folder, random_bundle, view="lateral", masks=study.masks, repeats=2)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium."""
    if find_chromium() is None:
        pytest.skip("no Chromium here: install Debian's package chromium, or set CHROMIUM")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
