"""Run by torchrun: train, go on training, evaluate. Arguments: data, frame store, output."""

import logging
import sys
from pathlib import Path

import torch
from monai.bundle import create_workflow

from tests.bundles.running import TINY, configs


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    data, frames, output = sys.argv[1:]
    bundle = Path("bundles/vfss_seg")
    small = {"dataset_dir": data, "cache_dir": frames, "output_dir": output, "track": False, "logging_file": False}
    small |= TINY
    for extra in ({"epochs": 1}, {"epochs": 2, "resume": True}):
        workflow = create_workflow(config_file=configs(bundle, "train", "multi_gpu_train"), **{**small, **extra})
        workflow.run()
        rank = torch.distributed.get_rank()
        assert torch.distributed.get_world_size() == 2 and torch.distributed.get_backend() == "gloo"
        average = workflow.parser.get_parsed_content("average").averaged.state_dict()
        parameters = dict(workflow.parser.get_parsed_content("network").module.named_parameters())
        torch.save({**average, **{f"network.{k}": v.data for k, v in parameters.items()}}, f"{output}/rank{rank}.pt")
        workflow.finalize()
        assert not torch.distributed.is_initialized()
    names = ("train", "evaluate", "multi_gpu_evaluate")
    small.pop("track")
    create = {key: value for key, value in small.items() if key not in TINY} | {"image_size": 48}
    workflow = create_workflow(config_file=configs(bundle, *names), **create)
    workflow.run()
    workflow.finalize()


if __name__ == "__main__":
    main()
