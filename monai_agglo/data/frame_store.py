"""Preprocessed cines on disk: memory-mapped frames and masks, keyed by content and transforms."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
import os
import types
from pathlib import Path

import numpy as np
import torch
from monai.transforms import Compose

from monai_agglo.files import atomic_path

__all__ = ["FrameStore", "describe_transform", "file_hash"]

logger = logging.getLogger(__name__)

STORE_VERSION = 1
MOST_OPEN = 4096
"""Maximum number of open arrays; Linux allows about 65,000 mappings per process."""


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file, or of all files of a folder in the order of their names.

    Args:
        path: file or folder.

    Returns:
        Hexadecimal digest of the content; file names are not part of it.

    Raises:
        FileNotFoundError: if the path does not exist.
    """
    path = Path(path)
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def describe_transform(transform, depth: int = 6):
    """JSON-serialisable description of a transform: class and plain settings, recursively.

    Args:
        transform: any object.
        depth: levels of recursion; deeper objects (such as readers of an image loader) are described by their
            non-default settings only.

    Returns:
        Numbers, strings, lists and dictionaries, the same in every process.
    """
    if transform is None or isinstance(transform, (bool, int, float, str)):
        return transform
    if isinstance(transform, (list, tuple)):
        return [describe_transform(x, depth - 1) for x in transform]
    if isinstance(transform, (set, frozenset)):
        return sorted((describe_transform(x, depth - 1) for x in transform), key=repr)
    if isinstance(transform, dict):
        return {str(k): describe_transform(v, depth - 1) for k, v in sorted(transform.items(), key=str)}
    if isinstance(transform, (type, types.FunctionType, types.BuiltinFunctionType)):
        name = f"{transform.__module__}.{transform.__qualname__}"
        code = getattr(transform, "__code__", None)
        # Lambdas of a module share one name; the repr of nested code contains an address.
        constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)] if code else []
        return [name, code.co_code.hex(), code.co_names, repr(constants)] if code else name
    name = f"{type(transform).__module__}.{type(transform).__qualname__}"
    if isinstance(transform, functools.partial):
        return [name, describe_transform([transform.func, transform.args, transform.keywords], depth - 1)]
    if isinstance(transform, (np.ndarray, torch.Tensor)):
        array = np.ascontiguousarray(transform)
        return [name, str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if not hasattr(transform, "__dict__"):
        text = repr(transform)
        return name if " at 0x" in text else [name, text]
    if depth <= 0:
        unusual = _unusual_settings(transform)
        return [name, unusual] if unusual else name
    return [name, describe_transform({k: v for k, v in vars(transform).items() if k != "R"}, depth - 1)]


def _unusual_settings(thing) -> dict:
    """Attributes (and entries of dictionaries of options) that differ from the constructor's defaults."""
    try:
        parameters = inspect.signature(type(thing)).parameters
    except (TypeError, ValueError):
        return {}
    settings: dict = {}
    for name, value in vars(thing).items():
        settings |= {str(k): v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        if isinstance(value, dict) and name in parameters:
            settings[name] = value
    default = {name: describe_transform(p.default, 0) for name, p in parameters.items() if p.default is not p.empty}
    return {
        name: facts
        for name, value in sorted(settings.items())
        if name in default and (facts := describe_transform(value, 0)) != default[name]
    }


class FrameStore:
    """Folder of preprocessed cines, named by the hash of their content and of the transforms.

    An entry is ``image.npy`` (uint8, T, H, W), ``label.npy`` (packed uint16, T, H, W) and a small JSON file,
    written last: an interrupted process leaves no entry.

    Args:
        folder: created if missing.
        fixed: transforms ending with :class:`~monai_agglo.data.PackCined`.
    """

    def __init__(self, folder: str | os.PathLike, fixed: Compose) -> None:
        self.folder = Path(folder)
        self.fixed = fixed
        recipe = json.dumps([STORE_VERSION, describe_transform(fixed)], sort_keys=True)
        self.recipe = hashlib.sha256(recipe.encode()).hexdigest()
        self._open: dict[tuple[str, str], np.ndarray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": {}}  # a memory map would be pickled with its data

    def key(self, item: dict) -> tuple[str, str]:
        """Key of a case, and the hash of its content alone.

        Args:
            item: case with ``image`` and ``label`` paths, ``labelled_structures`` and ``labelled_frames``.

        Returns:
            Two hexadecimal strings, independent of patient and file names.
        """
        parts = {k: file_hash(item[k]) for k in ("image", "label") if item.get(k) is not None}
        parts.update({k: item[k] for k in ("labelled_structures", "labelled_frames") if k in item})
        content = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return hashlib.sha256((content + self.recipe).encode()).hexdigest()[:32], content

    def path(self, key: str, kind: str) -> Path:
        """File of an entry; ``kind`` is ``json``, ``image.npy`` or ``label.npy``."""
        return self.folder / key[:2] / f"{key}.{kind}"

    def array(self, key: str, name: str) -> np.ndarray:
        """Memory-mapped ``image`` or ``label`` of an entry."""
        return np.load(self.path(key, f"{name}.npy"), mmap_mode="r")

    def kept(self, key: str, name: str) -> np.ndarray:
        """Like :meth:`array`, but kept open: opening takes longer than reading a frame."""
        found = self._open.get((key, name))
        if found is None:
            if len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            found = self._open[key, name] = self.array(key, name)
        return found

    def entry(self, key: str) -> dict | None:
        """Description of an entry.

        Args:
            key: from :meth:`key`.

        Returns:
            ``labelled``: labelled structures per frame (S lists of T), or None. None instead of a description without a
            complete entry; a damaged one (full disk, partial copy) counts as absent and is rebuilt.
        """
        if not self.path(key, "json").is_file():
            return None
        try:
            info = json.loads(self.path(key, "json").read_text())
            shape = self.array(key, "image").shape
            if info["labelled"] is not None and (
                self.array(key, "label").shape != shape or np.shape(info["labelled"])[1:] != shape[:1]
            ):
                raise ValueError("frames and masks do not belong together")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and is rebuilt: %s", self.path(key, "json"), error)
            return None
        return info

    def write(self, item: dict, key: str) -> None:
        """Preprocess a case unless another process has done it meanwhile.

        Args:
            item: case of a datalist.
            key: from :meth:`key`.

        Raises:
            ValueError: if a file of the case cannot be used.
        """
        if self.entry(key) is not None:
            return
        packed = self._prepare(item)
        for name in ("image", "label"):
            if packed.get(name) is not None:
                with atomic_path(self.path(key, f"{name}.npy")) as path, open(path, "wb") as stream:
                    np.save(stream, np.asarray(packed[name]))
        labelled = packed.get("labelled")
        info = {"labelled": None if labelled is None else np.asarray(labelled).astype(int).tolist()}
        with atomic_path(self.path(key, "json")) as path:
            path.write_text(json.dumps(info))

    def _prepare(self, item: dict) -> dict:
        try:
            return self.fixed(dict(item))
        except RuntimeError as error:
            # Unwrap MONAI's "applying transform <object at ...>" to show the cause.
            cause: BaseException | None = error
            while isinstance(cause, RuntimeError):
                cause = cause.__cause__
            if not isinstance(cause, ValueError):
                raise
            named = any(Path(str(item[key])).name in str(cause) for key in ("image", "label") if item.get(key))
            raise ValueError(str(cause) if named else f"{item['image']}: {cause}") from error
