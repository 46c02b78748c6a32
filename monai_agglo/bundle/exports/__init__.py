"""Export of networks: TorchScript, ONNX, torch.export, OpenVINO, each compared with PyTorch.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "run": ["Exported", "export"],
        "student": ["export_student"],
    },
)
