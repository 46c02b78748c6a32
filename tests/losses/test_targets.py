"""Normalised targets: variances, inverses, a case worked out by hand, and statistics learnt on the way."""

from types import SimpleNamespace

import pytest
import torch
from torch import multiprocessing

from monai_agglo.losses import TargetNormalizer


def statistics_of(cells):
    """Of (n, C) cells, as a cache has them."""
    return SimpleNamespace(count=len(cells), mean=cells.double().mean(0), covariance=torch.cov(cells.double().T))


def anisotropic(channels, cells=4000, seed=0):
    """Gaussian cells (n, C) whose directions' deviations span four orders of magnitude, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64))[0]
    loud = torch.logspace(-2, 2, channels, dtype=torch.float64)
    cells = torch.randn(cells, channels, generator=generator, dtype=torch.float64) * loud
    return (cells @ turn.T + 30 * torch.randn(channels, generator=generator, dtype=torch.float64)).float()


def as_map(cells, batch=2, rows=10):
    """(n, C) to (B, C, h, w)."""
    return cells.reshape(batch, rows, -1, cells.shape[1]).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("channels", [2, 7, 12, 18, 48, 64])
@pytest.mark.parametrize("kind", ["standardise", "phi_s"])
def test_every_channel_has_variance_one(kind, channels):
    """7 and 18 have no Hadamard matrix; 12 and 48 are not powers of two."""
    cells = anisotropic(channels)
    normalizer = TargetNormalizer.from_statistics(kind, statistics_of(cells))
    found = normalizer(as_map(cells)).permute(0, 2, 3, 1).reshape(-1, channels).double()
    torch.testing.assert_close(found.var(0), torch.ones(channels).double(), rtol=2e-4, atol=0)
    assert found.mean(0).abs().max() < 1e-3


@pytest.mark.parametrize("channels", [3, 12, 18, 64])
@pytest.mark.parametrize("kind", ["identity", "standardise", "phi_s"])
def test_the_inverse_brings_features_back(kind, channels):
    cells = anisotropic(channels)
    normalizer = TargetNormalizer.from_statistics(kind, statistics_of(cells))
    features = as_map(cells)
    torch.testing.assert_close(normalizer.inverse(normalizer(features)), features, rtol=0, atol=2e-3)
    other = torch.randn(1, channels, 4, 5)
    torch.testing.assert_close(normalizer(normalizer.inverse(other)), other, rtol=0, atol=2e-2)


def test_phi_s_by_hand():
    """Variance 9 along (0.6, 0.8) and 1 along (0.8, -0.6), mean (5, -2): phi = sqrt((9 + 1) / 2).

    A cell that lies 3 along the first direction has coordinates (3, 0); H = [[1, 1], [1, -1]] / sqrt(2) makes that
    (3, 3) / sqrt(2), over phi (3, 3) / sqrt(10). One that lies 1 along the second gives (1, -1) / sqrt(10).
    """
    first, second = torch.tensor([0.6, 0.8]).double(), torch.tensor([0.8, -0.6]).double()
    mean = torch.tensor([5.0, -2.0]).double()
    covariance = 9 * torch.outer(first, first) + torch.outer(second, second)
    torch.testing.assert_close(covariance, torch.tensor([[3.88, 3.84], [3.84, 6.12]]).double())
    normalizer = TargetNormalizer.from_statistics("phi_s", SimpleNamespace(count=10, mean=mean, covariance=covariance))
    assert normalizer.phi.item() == pytest.approx(5**0.5)
    cells = torch.stack([mean + 3 * first, mean + second, mean]).float().T.reshape(1, 2, 1, 3)
    expected = torch.tensor([[3.0, 1.0, 0.0], [3.0, -1.0, 0.0]]).reshape(1, 2, 1, 3) / 10**0.5
    torch.testing.assert_close(normalizer(cells), expected)


def test_phi_s_keeps_the_shape_of_the_cloud():
    """One scale for all: distances between features are the teacher's over phi, where standardising distorts them."""
    cells = anisotropic(24)
    statistics = statistics_of(cells)
    distance = torch.cdist(cells[:50].double(), cells[50:100].double())

    def distances(kind):
        found = TargetNormalizer.from_statistics(kind, statistics)(as_map(cells[:100])).permute(0, 2, 3, 1)
        return torch.cdist(found.reshape(100, 24)[:50].double(), found.reshape(100, 24)[50:].double())

    phi = statistics.covariance.diagonal().mean().sqrt()
    torch.testing.assert_close(distances("phi_s"), distance / phi, rtol=1e-4, atol=1e-4)
    shares = distances("standardise") / distance
    assert shares.max() / shares.min() > 1.2


def test_phi_s_of_features_without_full_rank():
    """Ten cells in 24 dimensions: the missing directions cost nothing, all channels still share the variance."""
    cells = anisotropic(24, 10)
    normalizer = TargetNormalizer.from_statistics("phi_s", statistics_of(cells))
    found = normalizer(as_map(cells, 1, 2))
    torch.testing.assert_close(found.flatten(2)[0].var(1), torch.ones(24), rtol=1e-3, atol=0)
    torch.testing.assert_close(normalizer.inverse(found), as_map(cells, 1, 2), rtol=0, atol=1e-3)


def test_standardise_by_hand_and_quiet_channels_stay_quiet():
    """Deviations 4, 2 and nothing at all: the last is scaled by a thousandth of the typical deviation, not by 0."""
    statistics = SimpleNamespace(
        count=9, mean=torch.tensor([1.0, -1, 3]), covariance=torch.diag(torch.tensor([16.0, 4, 0]))
    )
    normalizer = TargetNormalizer.from_statistics("standardise", statistics)
    cell = torch.tensor([5.0, 0, 3.001]).reshape(1, 3, 1, 1)
    assert normalizer(cell).flatten()[:2].tolist() == [1.0, 0.5]
    assert normalizer(cell)[0, 2].item() == pytest.approx(0.001 / (1e-3 * (20 / 3) ** 0.5), rel=1e-3)
    torch.testing.assert_close(normalizer.inverse(normalizer(cell)), cell)


def test_running_statistics_are_first_those_of_all_cells():
    cells = anisotropic(6, 600)
    normalizer = TargetNormalizer("standardise", 6, running=True, momentum=0.0)
    for part in (cells[:100], cells[100:300], cells[300:]):
        normalizer(as_map(part))
    assert int(normalizer.count) == 600
    torch.testing.assert_close(normalizer.mean, cells.mean(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(normalizer.variance, cells.var(0, unbiased=False), rtol=1e-4, atol=1e-4)
    kept = normalizer.mean.clone()
    normalizer.eval()(as_map(cells + 5))
    torch.testing.assert_close(normalizer.mean, kept)


def test_running_statistics_follow_with_the_momentum():
    """After (0, 2): mean 1, variance 1. A batch of mean 5 and variance 0 with weight 1/2: mean 3, and a variance of
    1/2 within and 1/2 * 1/2 * 4^2 = 4 between."""
    normalizer = TargetNormalizer("standardise", 1, running=True, momentum=0.5)
    normalizer(torch.tensor([0.0, 2.0] * 4).reshape(1, 1, 2, 4))
    found = normalizer(torch.full((1, 1, 1, 1), 5.0))
    assert (normalizer.mean.item(), normalizer.variance.item()) == (3.0, 4.5)
    assert found.item() == pytest.approx(2 / 4.5**0.5)


def test_masked_cells_teach_nothing():
    features = torch.randn(2, 3, 4, 4)
    mask = torch.ones(2, 4, 4)
    mask[0, :, 2:] = 0.4
    garbage = torch.where(mask[:, None] < 0.5, torch.full_like(features, 100.0), features)
    normalizer = TargetNormalizer("standardise", 3, running=True)
    normalizer(garbage, mask)
    valid = features.permute(0, 2, 3, 1)[mask >= 0.5]
    torch.testing.assert_close(normalizer.mean, valid.mean(0))
    torch.testing.assert_close(normalizer.variance, valid.var(0, unbiased=False))
    before = {k: v.clone() for k, v in normalizer.state_dict().items()}
    normalizer(garbage, torch.zeros(2, 4, 4))
    assert all(torch.equal(before[k], v) for k, v in normalizer.state_dict().items())


def _rank(rank, folder, cells):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    normalizer = TargetNormalizer("standardise", 4, running=True)
    normalizer(as_map(cells[rank]), None if rank else torch.ones(2, 10, 2))
    normalizer(as_map(cells[rank]), torch.zeros(2, 10, cells[rank].shape[0] // 20) if rank else None)
    torch.save(normalizer.state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_running_statistics_are_those_of_all_processes(tmp_path):
    """Two processes with batches of other sizes, the second of them once without a valid cell."""
    cells = [anisotropic(4, 40, 1), anisotropic(4, 120, 2)]
    multiprocessing.spawn(_rank, (str(tmp_path), cells), nprocs=2)
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(states[0][k], v) for k, v in states[1].items())
    everything = torch.cat([*cells, cells[0]])
    assert int(states[0]["count"]) == 200
    torch.testing.assert_close(states[0]["mean"], everything.mean(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(states[0]["variance"], everything.var(0, unbiased=False), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["identity", "standardise", "phi_s"])
def test_it_is_stored_with_the_student(kind, tmp_path):
    cells = anisotropic(12)
    normalizer = TargetNormalizer.from_statistics(kind, statistics_of(cells))
    torch.save(normalizer.state_dict(), tmp_path / "state.pt")
    other = TargetNormalizer(kind, 12)
    if kind != "identity":
        with pytest.raises(ValueError, match="no statistics yet"):
            other(as_map(cells))
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(as_map(cells)), normalizer(as_map(cells)))
    assert not list(normalizer.parameters())


@pytest.mark.parametrize("kind", ["standardise", "phi_s"])
def test_precision_does_not_depend_on_autocast(kind):
    cells = anisotropic(12)
    normalizer = TargetNormalizer.from_statistics(kind, statistics_of(cells))
    with torch.autocast("cpu", torch.bfloat16):
        found = normalizer(as_map(cells))
        back = normalizer.inverse(found)
    assert found.dtype == torch.float32 and torch.equal(found, normalizer(as_map(cells)))
    torch.testing.assert_close(back, as_map(cells), rtol=0, atol=2e-3)


def test_gradients_pass_both_ways():
    normalizer = TargetNormalizer.from_statistics("phi_s", statistics_of(anisotropic(12)))
    x = torch.randn(1, 12, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(normalizer.inverse(x).square().sum() / normalizer.phi**2, x)
    centred = normalizer.inverse(x).detach() - normalizer.mean[:, None, None]
    assert gradient.shape == x.shape and centred.norm().item() == pytest.approx(
        (normalizer.phi * x.norm()).item(), rel=1e-4
    )


def test_bad_requests_are_refused():
    good = statistics_of(anisotropic(4))
    with pytest.raises(ValueError, match="unknown normalisation of targets 'pca'; known are identity, standardise"):
        TargetNormalizer.from_statistics("pca", good)
    with pytest.raises(ValueError, match="running statistics are for standardise only"):
        TargetNormalizer("phi_s", 4, running=True)
    with pytest.raises(ValueError, match=r"\(B, 4, h, w\), not \(2, 5, 3, 3\)"):
        TargetNormalizer.from_statistics("phi_s", good)(torch.zeros(2, 5, 3, 3))
    for kind in ("standardise", "phi_s"):
        with pytest.raises(ValueError, match="without any variance"):
            TargetNormalizer.from_statistics(
                kind, SimpleNamespace(count=9, mean=torch.zeros(4), covariance=torch.zeros(4, 4))
            )
        with pytest.raises(ValueError, match="must be a finite mean"):
            bad = SimpleNamespace(count=9, mean=torch.full((4,), float("nan")), covariance=torch.eye(4))
            TargetNormalizer.from_statistics(kind, bad)
