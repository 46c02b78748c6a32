"""MONAI Label's server as scripts/monai_label.sh starts it, and its REST interface as its clients use it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
VENV = Path(os.environ.get("LABEL_VENV_DIR", ROOT / ".venv-label"))
VENV = VENV if VENV.is_absolute() else ROOT / VENV
PYTHON = VENV / "bin" / "python"
INSTALLED = (VENV / ".installed").is_file()
REASON = f"no MONAI Label in {VENV.name}: bash scripts/monai_label.sh, or INSTALL_SERVERS=1 bash scripts/test.sh"
PARAMS = {"device": "cpu", "result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": True}


class LabelServer:
    """A running server.

    Args:
        app: folder of the app; made by the script.
        studies: folder of cines, or a DICOMweb address.
        bundles: what to serve.
        env: further variables.
    """

    def __init__(self, app, studies, bundles, **env):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.app, self.log = Path(app), Path(app).with_suffix(".log")
        self.url = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy stands between a computer and itself
        base = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MONAI_LABEL_"))}
        env = base | {
            "LABEL_APP_DIR": str(app), "LABEL_PORT": str(port), "LABEL_BUNDLES": " ".join(map(str, bundles)),
            "LABEL_VENV_DIR": str(VENV), "OMP_NUM_THREADS": "1", "HOME": str(self.app.parent),
        } | env  # fmt: skip
        env.pop("PYTHONPATH", None)
        with self.log.open("w") as log:
            command = ["bash", str(ROOT / "scripts" / "monai_label.sh"), str(studies)]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 600
        while True:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()[-4000:]
            with contextlib.suppress(requests.ConnectionError):
                if self.session.get(f"{self.url}/info/", timeout=60).status_code == 200:
                    return
            time.sleep(0.5)

    def call(self, method, path, status=200, **options):
        """One request; its answer must have the status."""
        answer = self.session.request(method, self.url + path, timeout=600, **options)
        assert answer.status_code == status, f"{path}: {answer.text[-1500:]}\n{self.log.read_text()[-3000:]}"
        return answer

    def infer(self, model, image="", file=None, **params):
        """Segment; gives the label map's file content."""
        files = {} if file is None else {"file": (Path(file).name, Path(file).read_bytes())}
        where = f"/infer/{model}?output=image" + (f"&image={image}" if image else "")
        return self.call("POST", where, data={"params": json.dumps(PARAMS | params)}, files=files).content

    def train(self, model, **params):
        """Train as the clients do, in a process of its own, and wait for its end."""
        self.call("POST", f"/train/{model}", json={"device": "cpu", **params})
        while (task := self.call("GET", "/train/").json())["status"] not in ("DONE", "ERROR"):
            time.sleep(0.5)
        assert task["status"] == "DONE", "\n".join(task["details"])

    def logged(self, words):
        """Whether the log has these words, now or in a moment."""
        end = time.monotonic() + 10
        while words not in self.log.read_text():
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    def stop(self):
        """End the server and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def read_label_map(content, folder):
    """The array (rows, columns, frames) of a label map in NRRD, and the image as ITK viewers place it."""
    import numpy as np
    import SimpleITK

    path = Path(folder) / "label.nrrd"
    path.write_bytes(content)
    image = SimpleITK.ReadImage(str(path))
    return image, np.asarray(SimpleITK.GetArrayFromImage(image))


def on_grid(image, reference):
    """A label map resampled onto an image that ITK has read: what a viewer shows over it; (rows, columns, frames)."""
    import SimpleITK

    moved = SimpleITK.Resample(image, reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 255)
    return SimpleITK.GetArrayFromImage(moved).transpose(1, 2, 0)
