"""Run by torchrun, once per stage as a user would: ``train``, ``resume`` or ``evaluate``, data, frame store, output."""

import logging
import sys
from pathlib import Path

import torch
from monai.bundle import create_workflow

from tests.bundles.running import TINY, configs


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    stage, data, frames, output = sys.argv[1:]
    bundle = Path("bundles/vfss_seg")
    small = {"dataset_dir": data, "cache_dir": frames, "output_dir": output, "logging_file": False}
    if stage == "evaluate":
        names = ("train", "evaluate", "multi_gpu_evaluate")
        workflow = create_workflow(config_file=configs(bundle, *names), **small, image_size=48)
        workflow.run()
    else:
        more = {"train": {"epochs": 1}, "resume": {"epochs": 2, "resume": True}}[stage]
        names = ("train", "multi_gpu_train")
        workflow = create_workflow(config_file=configs(bundle, *names), **{**small, **TINY, "track": False, **more})
        workflow.run()
        rank = torch.distributed.get_rank()
        assert torch.distributed.get_world_size() == 2 and torch.distributed.get_backend() == "gloo"
        average = workflow.parser.get_parsed_content("average").averaged.state_dict()
        parameters = dict(workflow.parser.get_parsed_content("network").module.named_parameters())
        torch.save({**average, **{f"network.{k}": v.data for k, v in parameters.items()}}, f"{output}/rank{rank}.pt")
    workflow.finalize()
    assert not torch.distributed.is_initialized()


if __name__ == "__main__":
    main()
