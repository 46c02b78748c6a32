"""Remove the file name, often a patient name, from the metadata of an image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from monai_agglo.cine.identity import pseudonym


class PseudonymizeMetad(MapTransform):
    """Replace ``meta["filename_or_obj"]`` by a pseudonym before any writer or tracker sees it.

    Use it right after ``LoadImaged``. ``SaveImaged`` then names its files after the pseudonym.

    Args:
        keys: keys of the images.
        drop: metadata entries to remove as well; per-frame lists (``"frame_times_ms"``, ``"repeated_frames"``) cannot
            be batched when cines differ in length.
        allow_missing_keys: skip absent keys.
        name_key: key of a name to use instead, if present (a pseudonym numbered because several files share it).
    """

    # A class attribute: instance attributes enter the key of the frame store.
    name_key: str | None = None

    def __init__(
        self,
        keys: KeysCollection,
        drop: Sequence[str] = (),
        allow_missing_keys: bool = False,
        name_key: str | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.drop = tuple(drop)
        if name_key is not None:
            self.name_key = name_key

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        """Pseudonymise the metadata of each image.

        Args:
            data: a dictionary with :class:`~monai.data.MetaTensor` images.

        Returns:
            A shallow copy of ``data`` with pseudonymised metadata.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            if not isinstance(image, MetaTensor):
                continue
            image = MetaTensor(  # a view of the same pixels
                image.as_tensor(), meta=dict(image.meta), applied_operations=image.applied_operations
            )
            name = image.meta.get(ImageMetaKey.FILENAME_OR_OBJ)
            given = result.get(self.name_key)
            if given is not None:
                image.meta[ImageMetaKey.FILENAME_OR_OBJ] = str(given)
            elif name is not None:
                image.meta[ImageMetaKey.FILENAME_OR_OBJ] = image.meta.get("pseudonym") or pseudonym(str(name), "path")
            for entry in self.drop:
                image.meta.pop(entry, None)
            result[key] = image
        return result
