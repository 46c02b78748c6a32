"""A distillation in a process of its own, to kill or for torchrun. Arguments: output, phantom, epochs, hold.

``hold``: after so many iterations it waits to be killed, so that a busy computer cannot let it end first; 0: never.
"""

import logging
import sys
import time

import torch
from ignite.engine import Events
from monai.bundle import create_workflow

from tests.bundles.distill import config, small


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    output, phantom, epochs, hold = sys.argv[1:]
    names = ("train", "multi_gpu_train") if torch.distributed.is_torchelastic_launched() else ("train",)
    options = small(output, phantom, epochs=int(epochs), track=False)
    workflow = create_workflow(config_file=config(*names), **options)
    if int(hold):
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(Events.ITERATION_STARTED(once=int(hold) + 1), lambda: time.sleep(600))
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
