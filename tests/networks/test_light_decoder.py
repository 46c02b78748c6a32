import torch

from monai_agglo.networks import LightDecoder


def test_shape_and_prior():
    decoder = LightDecoder(16, 5, channels=8).eval()
    with torch.no_grad():
        logits = decoder(torch.zeros(2, 16, 8, 12), 32, 48)
    assert logits.shape == (2, 5, 32, 48)
    assert torch.sigmoid(logits).max() < 0.05  # an untrained head predicts that nearly nothing is present


def test_subpixel_head_is_finer_than_the_map():
    decoder = LightDecoder(4, 1, blocks=0)
    with torch.no_grad():
        decoder.head.weight.zero_()
        decoder.head.bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        logits = decoder(torch.zeros(1, 4, 1, 1), 2, 2)
    assert logits.flatten().tolist() == [1.0, 2.0, 3.0, 4.0]
