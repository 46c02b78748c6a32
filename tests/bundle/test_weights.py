"""The weights command over real sockets: complete, broken, resumed, changed and wrong downloads."""

import hashlib
import http.server
import re
import threading
import urllib.request
import zipfile
from dataclasses import replace

import pytest
import torch
from small_teacher import SmallTeacher, published

from monai_agglo import __main__ as cli
from monai_agglo.bundle.download import DownloadError, download, file_digest, open_https
from monai_agglo.bundle.weights import fill_model, get_weights, weights_status, weights_table
from monai_agglo.networks import TeacherNetwork
from monai_agglo.networks.teachers import TEACHERS, WeightFile

CONTENT = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; ``breaks`` cuts so many answers off in the middle."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.ranges, self.asked = {}, 0, True, []


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        if self.path not in server.files:
            self.send_error(404)
            return
        body, tag = server.files[self.path]
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        server.asked.append(self.headers.get("Range"))
        start = int(span[1]) if span and server.ranges and self.headers.get("If-Range", tag) == tag else 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if server.breaks:
            server.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def open_url(server):
    """Takes https://weights.test/... to the local server."""

    def open_(request):
        assert request.full_url.startswith("https://weights.test/")
        request.full_url = request.full_url.replace("https://weights.test", f"http://127.0.0.1:{server.server_port}")
        return urllib.request.urlopen(request, timeout=10)

    return open_


def test_download(server, open_url, tmp_path):
    server.files["/w.pt"] = (CONTENT, '"1"')
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = download("https://weights.test/w.pt", tmp_path / "deep" / "w.pt", digest, open_url=open_url)
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["w.pt"]


def test_a_broken_connection_is_continued(server, open_url, tmp_path):
    server.files["/w.pt"] = (CONTENT, '"1"')
    server.breaks = 2
    path = download("https://weights.test/w.pt", tmp_path / "w.pt", open_url=open_url)
    assert path.read_bytes() == CONTENT
    half, rest = len(CONTENT) // 2, len(CONTENT) - len(CONTENT) // 2
    assert server.asked == [None, f"bytes={half}-", f"bytes={half + rest // 2}-"]


def test_a_given_up_download_is_continued_by_the_next(server, open_url, tmp_path):
    server.files["/w.pt"] = (CONTENT, '"1"')
    server.breaks = 2
    with pytest.raises(DownloadError, match=r"stopped after 768,000 bytes .*run the command again to continue"):
        download("https://weights.test/w.pt", tmp_path / "w.pt", tries=2, open_url=open_url)
    assert not (tmp_path / "w.pt").exists() and (tmp_path / "w.pt.part").stat().st_size == 768_000
    download("https://weights.test/w.pt", tmp_path / "w.pt", open_url=open_url)
    assert (tmp_path / "w.pt").read_bytes() == CONTENT and server.asked[-1] == "bytes=768000-"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_changed_meanwhile_or_a_server_without_ranges(server, open_url, tmp_path, ranges):
    """A remainder is never glued to the beginning of another file."""
    (tmp_path / "w.pt.part").write_bytes(b"x" * 1000)
    (tmp_path / "w.pt.part.tag").write_text('"old"' if ranges else '"1"')
    server.files["/w.pt"], server.ranges = (CONTENT, '"1"'), ranges
    assert download("https://weights.test/w.pt", tmp_path / "w.pt", open_url=open_url).read_bytes() == CONTENT


def test_complete_but_not_renamed_yet(server, open_url, tmp_path):
    (tmp_path / "w.pt.part").write_bytes(CONTENT)
    server.files["/w.pt"] = (CONTENT, '"1"')
    assert download("https://weights.test/w.pt", tmp_path / "w.pt", open_url=open_url).read_bytes() == CONTENT
    (tmp_path / "v.pt.part").write_bytes(CONTENT + b"more")
    server.files["/v.pt"] = (CONTENT, '"1"')
    assert download("https://weights.test/v.pt", tmp_path / "v.pt", open_url=open_url).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum_leaves_nothing(server, open_url, tmp_path, kind):
    server.files["/w.pt"] = (CONTENT, '"1"')
    with pytest.raises(DownloadError, match=rf"has the {kind} \w+, expected 00ff"):
        download("https://weights.test/w.pt", tmp_path / "w.pt", **{kind: "00ff"}, open_url=open_url)
    assert not list(tmp_path.iterdir())


def test_not_found_and_not_https(server, open_url, tmp_path):
    with pytest.raises(DownloadError, match="answers 404"):
        download("https://weights.test/gone.pt", tmp_path / "w.pt", open_url=open_url)
    with pytest.raises(DownloadError, match="not https: refused"):
        download(f"http://127.0.0.1:{server.server_port}/w.pt", tmp_path / "w.pt")
    assert not server.asked and not list(tmp_path.iterdir())


def test_redirects_to_plain_http_are_refused():
    from monai_agglo.bundle.download import _OnlyHttps

    request = urllib.request.Request("https://weights.test/w.pt")
    with pytest.raises(DownloadError, match="leads to http://elsewhere"):
        _OnlyHttps().redirect_request(request, None, 302, "Found", {}, "http://elsewhere/w.pt")
    assert open_https.__doc__


def test_a_full_disk_is_seen_before(server, open_url, tmp_path, monkeypatch):
    server.files["/w.pt"] = (CONTENT, '"1"')
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(DownloadError, match="1,000 bytes free.* needs 1,024,000 more"):
        download("https://weights.test/w.pt", tmp_path / "w.pt", open_url=open_url)
    assert not (tmp_path / "w.pt").exists()


@pytest.fixture
def small(monkeypatch):
    """The small teacher in the registry; returns a way to change its published files."""
    monkeypatch.setitem(TEACHERS, "small", "small_teacher:SmallTeacher")

    def publish(*files):
        monkeypatch.setattr(SmallTeacher, "spec", replace(SmallTeacher.spec, files=files))

    return publish


def bytes_of(state, tmp_path):
    torch.save(state, tmp_path / "bytes")
    return (tmp_path / "bytes").read_bytes()


def test_get_weights_and_status(server, open_url, tmp_path, small):
    content = bytes_of(published(SmallTeacher(random_weights=True)), tmp_path)
    server.files["/small.pt"] = (content, '"1"')
    right = hashlib.sha256(content).hexdigest()
    folder = tmp_path / "weights"
    for checksum, check in (({"sha256": right}, "matches"), ({"sha256": right[:8]}, "matches"),
                            ({"md5": hashlib.md5(content).hexdigest()}, "matches"), ({}, "as downloaded")):  # fmt: skip
        small(WeightFile("small.pt", "https://weights.test/small.pt", **checksum))
        (status,) = weights_status(["small"], [folder])
        assert status.check == "absent" and status.path is None
        path = get_weights("small", folder, open_url=open_url)
        (status,) = weights_status(["small"], [tmp_path / "elsewhere", folder])
        assert (status.check, status.path) == (check, path)
        asked = len(server.asked)
        get_weights("small", folder, open_url=open_url)
        assert len(server.asked) == asked, "what is there and right is not downloaded again"
        path.write_bytes(content[:-1])
        (status,) = weights_status(["small"], [folder])
        assert status.check == "DIFFERS"
        with pytest.raises(DownloadError, match="move it away first"):
            get_weights("small", folder, open_url=open_url)
        for left in path.parent.iterdir():
            left.unlink()


def test_weights_out_of_an_archive(server, open_url, tmp_path, small):
    content = bytes_of(published(SmallTeacher(random_weights=True)), tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("pretrained/small.pt", content)
        archive.writestr("../evil", b"")
    server.files["/a.zip"] = ((tmp_path / "a.zip").read_bytes(), '"1"')
    small(WeightFile("small.pt", "https://weights.test/a.zip", member="small.pt"))
    path = get_weights("small", tmp_path / "weights", open_url=open_url)
    assert path.read_bytes() == content
    assert sorted(p.name for p in path.parent.iterdir()) == ["small.pt", "small.pt.sha256"]
    path.unlink()
    small(WeightFile("small.pt", "https://weights.test/a.zip", member="other.pt"))
    with pytest.raises(DownloadError, match=r"holds no other\.pt"):
        get_weights("small", tmp_path / "weights", open_url=open_url)
    server.files["/a.zip"] = (b"<html>", '"2"')
    with pytest.raises(DownloadError, match="no zip file"):
        get_weights("small", tmp_path / "other", open_url=open_url)


def test_a_bundle_s_model_file(tmp_path, small, monkeypatch):
    weights = tmp_path / "small" / "small.pt"
    weights.parent.mkdir()
    teacher = SmallTeacher(random_weights=True)
    torch.save(published(teacher), weights)
    monkeypatch.setenv("AGGLO_WEIGHTS", str(tmp_path))
    state = torch.load(fill_model("small", tmp_path / "models" / "model.pt"), weights_only=True)
    network = TeacherNetwork("small")
    assert network.random_weights and set(state) == set(network.state_dict())
    network.load_state_dict(state)
    assert not network.random_weights and network.teacher.weights_hash() == SmallTeacher(weights).weights_hash()


def test_the_list_names_every_teacher_and_licence(tmp_path):
    text = weights_table([tmp_path])
    for name in TEACHERS:
        assert f"\n{name}: " in text
    assert text.count("licence: ") == text.count("commercial use: ") == len(TEACHERS) and "absent" in text


def test_command_line(tmp_path, capsys):
    assert cli.main(["weights", "--folder", str(tmp_path)]) == 0
    assert "mobilesam: MobileSAM" in capsys.readouterr().out
    assert cli.main(["weights", "nobody"]) == 2
    assert "no teacher 'nobody'; known are medsam" in capsys.readouterr().err
    assert cli.main(["weights", "medsam", "--folder", str(tmp_path), "--file", "x.bin"]) == 2
    assert "MedSAM has no file x.bin; it has medsam_vit_b.pth" in capsys.readouterr().err


def test_file_digest(tmp_path):
    (tmp_path / "x").write_bytes(CONTENT)
    assert file_digest(tmp_path / "x") == hashlib.sha256(CONTENT).hexdigest()
