"""Build hook: puts the shipped bundle into the wheel, as ``monai_agglo/bundles/vfss_seg``.

Everything else is in pyproject.toml. In a clone the bundle stays where it is, see ``monai_agglo.bundle.find_bundle``.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = "vfss_seg"
PATTERNS = (
    "LICENSE",
    "large_files.yml",
    "configs/*",
    "docs/*",
    "models/model.pt",
    "models/model.onnx",
    "models/student.*",
)
"""What of a bundle is shipped: never its data, its runs or other checkpoints."""


class BuildWithBundle(build_py):
    """``build_py`` that copies the shipped bundle beside the package's modules."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        source = Path(__file__).parent / "bundles" / SHIPPED
        target = Path(self.build_lib) / "monai_agglo" / "bundles" / SHIPPED
        shutil.rmtree(target, ignore_errors=True)
        for pattern in PATTERNS:
            for path in sorted(p for p in source.glob(pattern) if p.is_file()):
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)


setup(cmdclass={"build_py": BuildWithBundle})
