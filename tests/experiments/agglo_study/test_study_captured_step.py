import pytest
import torch
from torch import nn

from monai_agglo.distill.probes.captured_step import WARM_UP, CapturedStep

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]


def _trained(device: torch.device, steps: int, captured: bool) -> torch.Tensor:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Hardswish(), nn.Conv2d(4, 1, 1))
    model.to(device)
    cuda = device.type == "cuda"
    rate = torch.tensor(1e-2, device=device) if cuda else 1e-2
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, capturable=cuda)

    def step(x, y):
        nn.functional.mse_loss(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def forget():
        optimizer.zero_grad(set_to_none=True)

    make = CapturedStep(step, forget, device)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.rand(4, 1, 8, 8, generator=generator).to(device)
        if captured:
            make(x, 1 - x)
        else:
            forget()
            step(x, 1 - x)
    return torch.cat([p.detach().flatten() for p in model.state_dict().values()]).cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("steps", [1, WARM_UP + 1, WARM_UP + 12])
def test_every_call_is_one_step_of_the_plain_training(device, steps):
    device = torch.device(device)
    torch.testing.assert_close(_trained(device, steps, True), _trained(device, steps, False), atol=1e-6, rtol=1e-5)
