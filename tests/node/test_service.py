"""The node as a whole: it listens before the bundle is loaded, and a wrong bundle ends it with one sentence."""

import pytest
from peers import LOCAL, config, wait_for
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from monai_agglo.node import ConfigError, Service, serve
from monai_agglo.node.segmenting import SegmentingChild

SLOW = """
import json, sys, time
sys.stdin.readline()
time.sleep(30)
print(json.dumps({"ready": True}), flush=True)
"""
UNABLE = """
import json, sys
sys.stdin.readline()
print(json.dumps({"error": "its weights do not fit"}), flush=True)
sys.stdin.readline()
"""


def echo(port):
    """Status of a C-ECHO."""
    entity = AE(ae_title="SENDER")
    entity.add_requested_context(Verification)
    association = entity.associate(LOCAL, port, ae_title="AGGLO")
    assert association.is_established
    status = association.send_c_echo().Status
    association.release()
    return status


def test_it_listens_while_the_bundle_is_loaded(tmp_path, random_bundle, monkeypatch):
    monkeypatch.setattr(SegmentingChild, "arguments", ["-c", SLOW])
    service = Service(config(tmp_path, random_bundle, 4242))
    service.start()
    try:
        assert echo(service.port) == 0
        assert service.worker.failure is None
    finally:
        service.stop()


def test_a_bundle_that_is_not_there_is_refused_at_once(tmp_path):
    service = Service(config(tmp_path, tmp_path / "nothing", 4242))
    with pytest.raises(ConfigError, match="the bundle cannot be used: no bundle"):
        service.start()


def test_a_bundle_that_cannot_be_loaded_ends_the_node(tmp_path, random_bundle, monkeypatch):
    monkeypatch.setattr(SegmentingChild, "arguments", ["-c", UNABLE])
    with pytest.raises(ConfigError, match="the bundle cannot be used: its weights do not fit"):
        serve(config(tmp_path, random_bundle, 4242))


def test_the_failure_of_the_child_is_kept_for_the_service(tmp_path, random_bundle, monkeypatch):
    monkeypatch.setattr(SegmentingChild, "arguments", ["-c", UNABLE])
    service = Service(config(tmp_path, random_bundle, 4242))
    service.start()
    try:
        wait_for(lambda: service.worker.failure is not None)
    finally:
        service.stop()
