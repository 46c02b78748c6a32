"""Streams for the tests: written by another process, at a pace, cut where a test wants it."""

import json
import subprocess
import sys
import textwrap

import av
import numpy as np
from app_samples import write_bundle

FORMATS = {
    "mpegts": ("libx264", "yuv420p", {"tune": "zerolatency", "crf": "10"}),
    "matroska": ("ffv1", "gray", {}),
    "avi": ("mjpeg", "yuvj420p", {}),
    "mpeg2video": ("mpeg2video", "yuv420p", {}),
}


def moving_frames(count, rows=64, columns=80, seed=0):
    """(H, W) uint8 frames of a moving blob in noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    for t in range(count):
        blob = 70 * np.exp(-(((x - 10 - 5 * t) / 12) ** 2) - ((y - 30) / 15) ** 2)
        picture = 120 + 60 * np.sin(x / 9) * np.cos(y / 7) - blob + rng.normal(0, 6, (rows, columns))
        yield np.clip(picture, 16, 235).astype(np.uint8)


def encode(target, form, frames, rate=10):
    """Encode frames into a file or file-like object."""
    codec, pixels, options = FORMATS[form]
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pixels
        for number, frame in enumerate(frames):
            if not number:
                stream.height, stream.width = frame.shape
                stream.codec_context.max_b_frames = 0
                stream.codec_context.gop_size = 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels)))
        container.mux(stream.encode(None))
    return target


FEED = textwrap.dedent(
    """
    import sys, time
    data, target, step, pause, hold = open(sys.argv[1], "rb").read(), sys.argv[2], *map(float, sys.argv[3:])
    with open(target, "ab", buffering=0) as sink:
        for start in range(0, len(data), int(step)):
            sink.write(data[start : start + int(step)])
            time.sleep(pause)
        time.sleep(hold)
    """
)


def feed(data, target, parts=20, pause=0.02, hold=0.0):
    """Start a process that writes a file's bytes into another file or a pipe, part by part, and stays for a while."""
    step = max(1, data.stat().st_size // parts)
    return subprocess.Popen([sys.executable, "-c", FEED, *map(str, (data, target, step, pause, hold))])


def shifted_bundle(folder, causal, context=1, window=3):
    """A bundle whose network mixes neighbouring frames."""
    bundle = write_bundle(folder, window=window, context=context)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"] |= {"temporal_shift": 0.5, "causal": causal}
    path.write_text(json.dumps(config))
    return bundle
