from .doctor import Check, doctor
from .locate import bundle_folders, find_bundle
from .results import publish

__all__ = ["Check", "bundle_folders", "doctor", "find_bundle", "publish"]
