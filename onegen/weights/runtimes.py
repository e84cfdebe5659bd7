"""The packages that load and convert models: extras, so they may be absent."""

import importlib.util

from onegen.errors import ConfigError

EXTRA = "annotators"
"""The extra of the embedded annotators."""


def require_package(module: str, package: str, extra: str = EXTRA) -> None:
    """Check, without importing it, that a runtime is installed; raises ConfigError saying which extra has it."""
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"package {package} must be installed, and is not: annotators of the extra {extra!r} need it. Install it "
            f"with: pip install 'onegen[{extra}]'."
        )
