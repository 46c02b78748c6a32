"""Static checks of a bundle's configs: nothing is run or instantiated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

__all__ = ["config_problems", "load_parser"]


def load_parser(paths: Sequence[Path], bundle_root: Path) -> Any:
    """Read configs like MONAI.

    Args:
        paths: config files; later ones overlay earlier ones.
        bundle_root: value of ``@bundle_root``.

    Returns:
        A parsed :class:`monai.bundle.ConfigParser`; not yet instantiated.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in paths]))
    parser["bundle_root"] = str(bundle_root)
    parser.parse()
    return parser


def config_problems(parser: Any, inference: bool) -> list[str]:
    """Find missing ids, dangling references and unknown class names.

    Args:
        parser: from :func:`load_parser`.
        inference: True for an inference workflow, False for a training workflow (evaluation counts as training).

    Returns:
        One phrase per problem; empty if none.
    """
    from monai.bundle import ComponentLocator, ReferenceResolver
    from monai.bundle.properties import InferProperties, TrainProperties
    from monai.utils import BundleProperty, BundlePropertyConfig

    properties = InferProperties if inference else TrainProperties
    ids = [p[BundlePropertyConfig.ID] for p in properties.values() if p[BundleProperty.REQUIRED]]
    problems = [f"id {item} is missing" for item in [*ids, "run"] if item not in parser]
    locator = ComponentLocator(excludes=["monai_agglo"])
    for where, value in _walk(parser.get()):
        if isinstance(value, dict) and isinstance(value.get("_target_"), str):
            target = value["_target_"]
            found = locate(target) if "." in target else locator.get_component_module_name(target)
            if found is None:
                problems.append(f"{where}: no class {target}")
        elif isinstance(value, str):
            problems += [
                f"{where}: no id {ref}" for ref in ReferenceResolver.match_refs_pattern(value) if ref not in parser
            ]
    return problems


def _walk(config: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config with its id, parents first."""
    yield where, config
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in items:
        yield from _walk(value, f"{where}::{key}" if where else str(key))
