"""Visualisation: overlay video, contact sheet, masks and text drawn on frames.

Names are imported on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "contact_sheet": ["write_contact_sheet"],
        "overlay": ["draw_overlay", "write_overlay_video"],
    },
)
