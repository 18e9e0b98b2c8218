"""The configs that come with the package, by name; nothing heavy is imported, so that a typing slip shows at once."""

from __future__ import annotations

from pathlib import Path

from dpsdata.contracts import MissingError, UsageError, did_you_mean

CONFIGS = Path(__file__).parent / "configs"


def config_names() -> tuple[str, ...]:
    """Names of the configs of the package."""
    return tuple(sorted(path.stem for path in CONFIGS.glob("*.toml")))


def find_config(config: str) -> Path:
    """The file of a config.

    Args:
        config: name of a config of the package, or path of a `.toml` file.

    Raises:
        UsageError: the package has no such config.
        MissingError: there is no such file.
    """
    path = Path(config) if config.endswith(".toml") else CONFIGS / f"{config}.toml"
    if path.is_file():
        return path
    if config.endswith(".toml"):
        raise MissingError(f"{path}: no such file; expected a training config in TOML")
    known = config_names()
    hint = did_you_mean(config, known)
    raise UsageError(f"config: {hint}expected one of {', '.join(known)}, or a .toml file, got {config!r}")
