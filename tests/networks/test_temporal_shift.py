import pytest
import torch

from monai_agglo.networks import CineSegmenter, TemporalShift


def cine(frames=5, channels=4):
    return torch.arange(frames * channels, dtype=torch.float32).reshape(frames, channels, 1, 1)


def test_channels_look_back_and_ahead():
    x = cine()
    y = TemporalShift(0.5)(x, 5)
    assert y[2, 0] == x[1, 0] and y[2, 1] == x[3, 1] and torch.equal(y[2, 2:], x[2, 2:])
    assert y[0, 0] == x[0, 0] and y[4, 1] == x[4, 1]  # borders repeat


def test_causal_never_looks_ahead():
    network = CineSegmenter(temporal_shift=0.25, causal=True).eval()
    image = torch.rand(1, 1, 32, 32, 4)
    changed = image.clone()
    changed[..., 3] = 0
    with torch.no_grad():
        a, b = network(image), network(changed)
    assert torch.equal(a[..., :3], b[..., :3]) and not torch.equal(a[..., 3], b[..., 3])


def test_bidirectional_mixes_frames_of_the_same_cine_only():
    network = CineSegmenter(temporal_shift=0.25).eval()
    image = torch.rand(2, 1, 32, 32, 3)
    changed = image.clone()
    changed[0, ..., 2] = 0
    with torch.no_grad():
        a, b = network(image), network(changed)
    assert not torch.equal(a[0, ..., 1], b[0, ..., 1])
    assert torch.equal(a[0, ..., 0], b[0, ..., 0]) and torch.equal(a[1], b[1])


def test_still_is_unchanged_and_there_are_no_parameters():
    x = cine(frames=1)
    shift = TemporalShift(1.0)
    assert torch.equal(shift(x, 1), x)
    assert not list(shift.parameters())


def test_bad_fraction():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        TemporalShift(1.5)


@pytest.mark.parametrize("causal", [{"temporal_shift": 0.25, "causal": True}, {}])
def test_piece_by_piece_is_the_whole(causal):
    """A stream gives the logits of the whole cine, however it is cut; the carried state is what makes it so.

    Up to rounding: some processors add up in another order when there are fewer frames.
    """
    torch.manual_seed(0)
    network = CineSegmenter("mobilenetv3_small_050.lamb_in1k", **causal).eval()
    image = torch.rand(1, 1, 40, 56, 7)
    with torch.inference_mode():
        whole = network.coarse(image)
        for sizes in ((1, 1, 1, 1, 1, 1, 1), (3, 1, 3), (7,)):
            past, parts = None, []
            for part in image.split(sizes, dim=-1):
                logits, past = network.coarse_part(part, past)
                parts.append(logits)
            torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)
        forgotten = torch.cat([network.coarse_part(part, None)[0] for part in image.split(1, -1)])
    assert torch.allclose(forgotten, whole, rtol=0, atol=1e-5) == (not causal)


def test_cines_of_a_batch_carry_their_own_state():
    network = CineSegmenter("mobilenetv3_small_050.lamb_in1k", temporal_shift=0.5, causal=True).eval()
    image = torch.rand(2, 1, 32, 32, 4)
    with torch.inference_mode():
        _, past = network.coarse_part(image[..., :3], None)
        both, _ = network.coarse_part(image[..., 3:], past)
        assert torch.equal(both, network.coarse(image)[[3, 7]])


def test_a_shift_that_looks_ahead_cannot_be_cut():
    network = CineSegmenter("mobilenetv3_small_050.lamb_in1k", temporal_shift=0.25).eval()
    with pytest.raises(ValueError, match="only a causal temporal shift"):
        network.coarse_part(torch.rand(1, 1, 32, 32, 2), None)
