"""The packages that load and convert embedded models: an extra, so they may be absent."""

import importlib.util

from onegen.errors import ConfigError

EXTRA = "annotators"


def require_package(module: str, package: str) -> None:
    """Check, without importing it, that a runtime is installed; raises ConfigError saying how to install it."""
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"package {package} must be installed, and is not: embedded annotators need it. Install it with: "
            f"pip install 'onegen[{EXTRA}]'."
        )
