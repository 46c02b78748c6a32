"""A distillation in a process of its own, to kill or for torchrun. Arguments: output, phantom, epochs, resume."""

import logging
import sys

import torch
from monai.bundle import create_workflow

from tests.bundles.distill import config, small


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    output, phantom, epochs, resume = sys.argv[1:]
    names = ("train", "multi_gpu_train") if torch.distributed.is_torchelastic_launched() else ("train",)
    options = small(output, phantom, epochs=int(epochs), resume=resume == "resume", track=False)
    workflow = create_workflow(config_file=config(*names), **options)
    workflow.run()
    if torch.distributed.is_initialized():
        learner = workflow.parser.get_parsed_content("learners")[0]
        metrics = workflow.parser.get_parsed_content("validate#evaluator").state.metrics
        assert isinstance(learner.parallel, torch.nn.parallel.DistributedDataParallel)
        state = dict(learner.objective.named_parameters())
        torch.save({"state": state, "metrics": metrics}, f"{output}/rank{torch.distributed.get_rank()}.pt")
    workflow.finalize()


if __name__ == "__main__":
    main()
