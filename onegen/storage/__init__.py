"""Where bytes lie: stores, the lease of a driver, tables larger than memory."""

from pathlib import Path

import fsspec
from fsspec.utils import stringify_path

from onegen.errors import ConfigError
from onegen.storage.local import LocalStore
from onegen.storage.objects import PROTOCOLS, ObjectStore, family
from onegen.storage.store import Store

for _name in PROTOCOLS:
    # By name, so that nothing is imported yet. Sources, tables and lists are read by what reads datasets.
    _class = {"s3": "S3Files", "gs": "GoogleFiles", "az": "AzureFiles"}[family(f"{_name}://")]
    fsspec.register_implementation(
        _name,
        f"onegen.storage.object_files.{_class}",
        clobber=True,
        errtxt="Install what reads object stores: pip install 'onegen[stores]'",
    )


def open_store(url: str | Path) -> Store:
    """Return the store behind a path, the URL of an object store, or another of fsspec's.

    Raises ConfigError for a protocol that is not installed.
    """
    text = stringify_path(url)
    protocol = fsspec.core.split_protocol(text)[0]
    if protocol in (None, "file", "local"):
        return LocalStore(text)
    if protocol in PROTOCOLS:
        return ObjectStore(text)
    try:
        return Store(text)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"dataset URL must have a protocol fsspec can open, got {text!r}: {error}") from error
