"""What all tests share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Graphs of networks that tests make stay out of the user's cache; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
