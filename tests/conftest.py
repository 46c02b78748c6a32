"""What all tests share."""

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Graphs of networks that tests make stay out of the user's cache; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def load_script():
    """Gives a script of the ``scripts`` folder, by name, as a module of its own."""

    def load(name):
        place = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(place)
        place.loader.exec_module(module)
        return module

    return load
