"""Loads the weights of a teacher bundle: ``models/model.pt`` or the published checkpoint."""

from __future__ import annotations

import logging
import os

from ignite.engine import Engine

from monai_agglo.networks import TeacherNetwork, bundle_network
from monai_agglo.networks.teachers import find_weights

from .weights_loader import WeightsLoader

__all__ = ["TeacherWeightsLoader"]

logger = logging.getLogger(__name__)


class TeacherWeightsLoader(WeightsLoader):
    """Loads a teacher's weights into a bundle's network when an engine starts.

    ``path`` takes precedence, then the published checkpoint beside ``path`` (from ``download_large_files``), then the
    one in the weights folders. Nothing is downloaded.

    Args:
        path: the bundle's ``models/model.pt``, or the published file under its own name.
        network: the bundle's network.
        random_weights: keep random weights, for a dry run.
    """

    def __init__(self, path: str | os.PathLike, network: TeacherNetwork, random_weights: bool = False) -> None:
        super().__init__(path, network)
        self.random_weights = bool(random_weights)

    def load(self, engine: Engine | None = None) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: without weights, with the remedy.
            ValueError: if the weights do not match the network.
        """
        spec = self.network.teacher.spec
        if self.random_weights:
            logger.warning("%s is left with RANDOM weights, as asked for: the results mean nothing", spec.title)
            return
        names = [file.name for file in spec.files]
        if self.path.is_file() and self.path.name not in names:
            return super().load(engine)
        beside = [self.path] if self.path.name in names else [self.path.parent / name for name in names]
        published = next((path for path in beside if path.is_file()), None) or find_weights(spec)
        if published is None:
            raise FileNotFoundError(
                f"there are no weights of {spec.title} in {self.path}: get them with 'python -m monai_agglo weights "
                f"{spec.name} --model-pt {self.path}', or try the plumbing with --random_weights True"
            )
        self.network.load_state_dict(bundle_network(spec.name, published).state_dict())
        logger.info("weights from %s", published)
