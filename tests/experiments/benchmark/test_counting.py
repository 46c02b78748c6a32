import pytest
import torch
from torch import nn

from experiments.benchmark.counting import count, roofline_ms
from experiments.benchmark.encoder_zoo import OTHERS, OURS, OURS_AT, image_for, make_encoder


def test_convolution():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1)
    )
    found = count(network.eval(), torch.rand(1, 3, 10, 12))
    assert found["gmacs"] * 1e9 == pytest.approx(10 * 12 * 9 * (3 * 8 + 8))
    assert found["parameters"] == 3 * 8 * 9 + 8 * 9 + 8
    (operations, size), _ = found["layers"]
    assert operations == 2 * 10 * 12 * 9 * 3 * 8 and size == 4 * (3 * 120 + 3 * 8 * 9 + 8 * 120)


def test_attention_counts_on_a_cpu():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    found = count(Attention(), torch.rand(1, 4, 50, 16))
    assert found["gmacs"] * 1e9 == pytest.approx(2 * 4 * 50 * 50 * 16)


def test_linear():
    assert count(nn.Linear(20, 30), torch.rand(7, 20))["gmacs"] * 1e9 == pytest.approx(7 * 20 * 30)


def test_roof_is_the_slower_of_arithmetic_and_memory():
    counted = {"layers": [(2e9, 1e6), (2e6, 1e9)], "outer_bytes": 1e6}
    found = roofline_ms(counted, gflops=100, gb_per_s=10)
    assert found["roof_ms"] == pytest.approx(20.02)
    assert found["layer_roof_ms"] == pytest.approx(20 + 100) and found["bound"] == "memory"
    assert roofline_ms(counted, gflops=1, gb_per_s=10)["bound"] == "arithmetic"


def test_ours_takes_a_small_part_of_litemedsam_s_multiply_adds(monkeypatch, tmp_path):
    """The ratio that the encoder's size allows; the benchmark measures how much of it is left on the clock."""
    monkeypatch.setenv("AGGLO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = {}
    for name, size in ((OURS, OURS_AT), ("litemedsam", OTHERS["litemedsam"].own)):
        network, weights = make_encoder(name, size)
        assert weights == ("vfss_seg" if name == OURS else "random")
        with torch.device("meta"):
            found[name] = count(network.to("meta"), image_for(name, size).to("meta"))
    assert found["litemedsam"]["gmacs"] > 60 * found[OURS]["gmacs"]
    assert found["litemedsam"]["parameters"] > 8 * found[OURS]["parameters"]


@pytest.mark.parametrize("name", OTHERS)
def test_sizes_hold_the_own_one_and_fit_the_patches(name):
    sizes = OTHERS[name].sizes()
    assert OTHERS[name].own in sizes and len(sizes) == 3
    assert all(size % OTHERS[name].multiple == 0 for size in sizes)
