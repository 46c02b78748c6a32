"""Options of older configs: refused with the way to what replaced them."""

from __future__ import annotations

__all__ = ["refuse_flag"]


def refuse_flag(value: object, name: str, config: str) -> None:
    """Refuse a flag that an override file has replaced.

    Args:
        value: of the flag; anything false is accepted.
        name: of the flag.
        config: the override file.

    Raises:
        ValueError: the flag is set.
    """
    if value:
        raise ValueError(
            f"--{name} is no option any more: give the override file too, "
            f"--config_file \"['configs/train.json','{config}']\""
        )
