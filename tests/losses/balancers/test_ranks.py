"""Two processes with half a batch each do what one does with the whole."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from monai_agglo.losses.balancers import BalancerContext
from monai_agglo.losses.balancers.ranks import average_over_ranks, rank, world_size

from .cases import CASES, CHANNELS, TEACHER_CHANNELS, T, make

COMPARED = [case for case in CASES if "dropping" not in case]  # which draws other images on purpose
WORLD, IMAGES = 2, 4


def job(number, world, folder):
    """Some steps of every balancer on this process's share of the batches; results into a file."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=world)
    share = slice(number * IMAGES // world, (number + 1) * IMAGES // world)
    found = {}
    for case in COMPARED:
        balancer = make(case)
        parameters = list(balancer.parameters())
        optimiser = torch.optim.SGD(parameters, lr=0.1) if parameters else None
        for step in range(4):
            generator = torch.Generator().manual_seed(step)
            values = torch.rand(IMAGES, T, generator=generator) + torch.arange(1.0, T + 1)
            student = torch.randn(IMAGES, CHANNELS, generator=generator)
            teachers = [torch.randn(IMAGES, c, generator=generator) for c in TEACHER_CHANNELS]
            losses = values[share]
            shared = torch.ones(len(losses), CHANNELS, 2, 2, requires_grad=True)
            losses = losses * shared.mean((1, 2, 3))[:, None]
            context = BalancerContext(step, 10, shared, student[share], [t[share] for t in teachers])
            balance = balancer(losses, context)
            if optimiser:
                optimiser.zero_grad()
            balance.total.backward()
            balancer.sync_gradients()
            if optimiser:
                optimiser.step()
            balancer.after_step(losses.detach().mean(0))
        found[case] = [balance.weights, *(p.detach() for p in parameters)]
    torch.save(found, f"{folder}/{world}-{number}.pt")
    if world > 1:
        dist.destroy_process_group()


def test_two_processes_are_one(tmp_path):
    job(0, 1, tmp_path)
    mp.spawn(job, (WORLD, str(tmp_path)), nprocs=WORLD)
    whole, *parts = (torch.load(tmp_path / name, weights_only=True) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    for case in COMPARED:
        (weights, *parameters), *others = whole[case], *(part[case] for part in parts)
        for mean_weights in [sum(other[0] for other in others) / WORLD] if "image" in case else [o[0] for o in others]:
            assert mean_weights.numpy() == pytest.approx(weights.numpy(), abs=1e-5), case
        for other in others:
            for mine, theirs in zip(parameters, other[1:]):
                assert theirs.numpy() == pytest.approx(mine.numpy(), abs=1e-5), case


def test_one_process_alone():
    value = torch.ones(2)
    assert average_over_ranks(value) is value and (rank(), world_size()) == (0, 1)
