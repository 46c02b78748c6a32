from .spec import PhantomSpec, SwallowSpec
from .study_model import PhantomStudy

__all__ = ["PhantomSpec", "PhantomStudy", "SwallowSpec"]
