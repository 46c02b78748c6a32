"""Validation of the configuration file."""

import json

import pytest

from monai_agglo.node import ConfigError, read_config

GOOD = {
    "ae_title": "AGGLO",
    "spool": "spool",
    "accept": [{"ae_title": "PACS", "address": "127.0.0.1"}],
    "send_to": {"ae_title": "PACS", "address": "localhost", "port": 4242},
}


def written(tmp_path, **changes):
    content = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(content))
    return path


def test_defaults(tmp_path):
    found = read_config(written(tmp_path))
    assert found.address == "127.0.0.1" and found.spool == str(tmp_path / "spool")
    assert found.tls is None and found.results == ("seg", "sr") and not found.any_view
    assert found.limits.queue == 500 and found.retry.longest_s == 600


def test_explicit_values(tmp_path):
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x")
    tls = {"certificate": "c.pem", "key": "k.pem"}
    path = written(tmp_path, tls=tls, limits={"queue": 7}, retry={"first_s": 0.5}, results=["seg"], port=0)
    found = read_config(path)
    assert found.tls.key == str(tmp_path / "k.pem") and found.limits.queue == 7 and found.limits.jobs == 50
    assert found.retry.first_s == 0.5 and found.results == ("seg",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ae_title": "A" * 17}, "ae_title must be an AE title"),
        ({"ae_title": "A\\B"}, "ae_title must be an AE title"),
        ({"spool": ...}, "lacks 'spool'"),
        ({"adress": "127.0.0.1"}, "no setting 'adress'"),
        ({"accept": []}, "accept must list the permitted senders"),
        ({"accept": [{"ae_title": "PACS"}]}, r"accept\[0\] lacks 'address'"),
        ({"accept": [{"ae_title": "PACS", "address": "pacs.example"}]}, r"accept\[0\].address must be an IP address"),
        ({"send_to": {"ae_title": "PACS", "address": "x"}}, "send_to.port must be a port"),
        ({"port": 70000}, "port must be a port"),
        ({"port": True}, "port must be a port"),
        ({"address": "everywhere"}, "address must be an IP address"),
        ({"results": ["pdf"]}, "unknown value 'pdf'; known: seg, sr, overlay"),
        ({"limits": {"queue": 0}}, "limits.queue must be a whole number above 0"),
        ({"limits": {"queue": 1.5}}, "limits.queue must be a whole number above 0"),
        ({"limits": {"speed": 1}}, "limits has no setting 'speed'"),
        ({"retry": {"first_s": "soon"}}, "retry.first_s must be a number above 0"),
        ({"tls": {"key": "none.pem", "certificate": "none.pem"}}, "tls.certificate: there is no file"),
        ({"tls": {}}, "tls needs certificate and key"),
        ({"any_view": "yes"}, "any_view must be true or false"),
    ],
)
def test_errors_are_one_sentence(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        read_config(written(tmp_path, **changes))
    assert "serve.json: " in str(error.value) and "\n" not in str(error.value)


def test_invalid_json_and_missing_file(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_config(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "y.json")
