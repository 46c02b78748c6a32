"""Fixtures of the node tests."""

import pytest
from peers import Pacs, config

from monai_agglo.node.audit import Audit
from monai_agglo.node.node import Node
from monai_agglo.node.spool import Spool


@pytest.fixture
def pacs():
    peer = Pacs()
    yield peer
    peer.stop()


@pytest.fixture
def listening(tmp_path):
    """Start the receiving side of a node; returns (node, spool, port)."""
    started = []

    def start(**changes):
        settings = config(tmp_path, "unused", 4242, **changes)
        spool = Spool(settings.spool, settings.limits.queue, settings.limits.free_mb << 20)
        node = Node(settings, spool, Audit(spool.root / "audit.jsonl"))
        port = node.start()
        started.append((node, spool))
        return node, spool, port

    yield start
    for node, spool in started:
        node.stop()
        spool.close()
