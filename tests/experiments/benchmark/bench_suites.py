"""Results of suites as the benchmark writes them, for tests of figures, page and plots."""

from experiments.benchmark.files import JPEG

COMPUTER = {
    "processor": "TestCPU", "cores": 2, "instructions": "AVX2", "vnni": False, "bfloat16": False, "memory_gb": 8.0,
    "system": "Linux x86_64", "python": "3.11.0",
}  # fmt: skip
STATE = {
    "what": "What it is.", "started": "2030-01-01T00:00+00:00", "minutes": 1.0, "load_average_before": 0.2,
    "fingerprint": "abc-def", "command": "python -m experiments.benchmark",
}  # fmt: skip


def timed(ms, **more):
    """A row as measured."""
    return {
        "ms": ms, "ms_quartiles": [0.9 * ms, 1.1 * ms], "cpu_ms": ms, "per_s": 1000 / ms, "repeats": 5,
        "peak_mb": 500.0, **more,
    }  # fmt: skip


def encoder(model, size, ms, gmacs, runtime="pytorch", threads=2, ours=False):
    roof = {"roof_ms": 10 * gmacs, "layer_roof_ms": 12 * gmacs, "bound": "memory", "roof_fraction": 10 * gmacs / ms}
    where = {"model": model, "runtime": runtime, "group": "pytorch", "form": "together", "size": size}
    facts = {"threads": threads, "ours": ours, "gmacs": gmacs, "parameters": 1_000_000, "weights": "random"}
    return where | facts | timed(ms, **roof)


def suites():
    """A whole run in which some targets are met and some missed."""
    from experiments.benchmark.encoders import ratios

    rows = [
        encoder("efficientvit_b0", 512, 20.0, 0.55, ours=True),
        encoder("efficientvit_b0", 512, 30.0, 0.55, threads=1, ours=True),
        encoder("efficientvit_b0", 512, 10.0, 0.55, "onnxruntime", ours=True),
        encoder("litemedsam", 256, 800.0, 37.0),
        encoder("litemedsam", 256, 600.0, 37.0, "onnxruntime"),
        encoder("mobilesam", 1024, 900.0, 38.0),
        encoder("medsam", 1024, 8000.0, 480.0),
        {"model": "efficientvit_b0", "runtime": "openvino", "group": "exported", "form": "together", "size": None,
         "threads": None, "ours": True, "reason": "OpenVINO is not installed"},
    ]  # fmt: skip
    settings = [
        {"setting": "torch fp32", "case": JPEG, **timed(40.0)},
        {"setting": "torch fp32", "case": "network", **timed(35.0)},
        {"setting": "openvino int8", "case": JPEG, **timed(25.0)},
        {"setting": "openvino int8", "case": "network", **timed(20.0)},
    ]  # fmt: skip
    start = [
        {
            "task": task,
            "code": code,
            "cpu_s": cpu,
            "wall_s": cpu / 2 if task != "help" else 0.1,
            "peak_mb": peak,
            "repeats": 3,
        }
        for code, cpu, peak in (("after", 3.0, 300.0), ("before", 20.0, 1200.0))
        for task in ("help", "wrong path", "predict, 30 frames", "predict, 3000 frames", "child of serve")
    ]
    found = {
        "start_up": {"size": 512, "frames": [30, 3000], "rows": start},
        "encoders": {"rows": rows, "roofs": {"pytorch": {"2": {"gflops": 100.0, "gb_per_s": 12.0}}},
                     "ratios": ratios(rows)},
        "segmenters": {
            "size": 512, "frames_per_call": 8,
            "rows": [
                {"name": "ours, PyTorch fp32", "ours": True, "threads": 2, "weights": "vfss_seg", **timed(40.0)},
                {"name": "UNet", "ours": False, "threads": 2, "weights": "random", "is": "MONAI",
                 "parameters": 2_000_000, "gmacs_per_frame": 3.5, **timed(90.0)},
                {"name": "UNETR", "ours": False, "threads": None, "reason": "einops is missing"},
            ],
        },
        "precision": {
            "patients": 2, "frames_each": 2, "seed": 1, "size": 512,
            "rows": [
                {"runtime": "torch", "precision": "fp32", "dice": 0.9, "dice_loss_points": 0.0,
                 "changed_pixels_pct": 0.0},
                {"runtime": "openvino", "precision": "int8", "dice": 0.895, "dice_loss_points": 0.5,
                 "changed_pixels_pct": 0.2},
            ],
        },
        "reading": {"size": 512, "frames": 10,
                    "rows": [{"syntax": JPEG, "file_bytes": 500_000, "raw_bytes": 2_621_440, **timed(4.0)}]},
        "end_to_end": {
            "size": 512, "frames": 96, "threads": 2, "settings": settings,
            "syntaxes": [{"setting": "torch fp32", "syntax": JPEG, **timed(40.0)}],
            "stages": [{"setting": "torch fp32", "stage": stage, **timed(ms)} for stage, ms in
                       (("decode", 4.0), ("masks", 40.0), ("predict", 60.0), ("predict and SEG", 58.0),
                        ("report", 9.0))],
        },
        "growth": {
            "size": 512,
            "frames": [{"frames": 30, **timed(60.0)}, {"frames": 300, **timed(50.0)},
                       {"frames": 3000, **timed(49.0, peak_mb=520.0)}],
            "sizes": [{"size": 256, **timed(30.0)}, {"size": 512, **timed(40.0)}],
            "workers": [{"workers": 1, **timed(60.0)}, {"workers": 2, **timed(35.0)}],
        },
        "training": {
            "size": 512, "threads": 2,
            "rows": [
                {"bundle": "vfss_seg", "batch": 16, "steps": 8, "step_ms": 2000.0, "load_ms": 200.0, "pure_ms": 1750.0,
                 "steps_per_s": 0.5, "loader_ratio": 0.9, "pure_ratio": 0.875, "of_steps": 8, "peak_mb": 3000.0},
            ],
            "rates": [{"name": "phantom", "unit": "frames", **timed(100.0)}],
        },
    }  # fmt: skip
    return {name: STATE | suite for name, suite in found.items()}
