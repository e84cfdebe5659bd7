"""Object stores as fsspec file systems, for sources: the client, the retries and the words of `storage.objects`.

Registered in `onegen.storage` by name, so that nothing is imported before a URL asks for it.
"""

import contextlib
import errno
from collections.abc import AsyncIterator
from typing import Any

from obstore.exceptions import BaseError
from obstore.fsspec import FsspecStore

from onegen.storage.objects import RETRIES, as_os_error, client, family


class ObjectFiles(FsspecStore):
    """Base of the file systems of one protocol; errors of a store are OSErrors, as those of any file system."""

    cachable = True

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("client_options", client(family(f"{self.protocol}://")))
        options.setdefault("retry_config", RETRIES)
        super().__init__(*args, **options)

    @contextlib.asynccontextmanager
    async def _told(self, path: str) -> AsyncIterator[None]:
        url = self.unstrip_protocol(path)
        try:
            yield
        except BaseError as error:
            raise as_os_error(error, url, family(url)) from error
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", url) from error

    async def _info(self, path: str, **options: Any) -> Any:
        async with self._told(path):
            return await super()._info(path, **options)

    async def _ls(self, path: str, *args: Any, **options: Any) -> Any:
        async with self._told(path):
            return await super()._ls(path, *args, **options)

    async def _cat_file(self, path: str, *args: Any, **options: Any) -> Any:
        async with self._told(path):
            return await super()._cat_file(path, *args, **options)


class S3Files(ObjectFiles):
    """S3 and what speaks its language."""

    protocol = "s3"


class GoogleFiles(ObjectFiles):
    """Google Cloud Storage."""

    protocol = "gs"


class AzureFiles(ObjectFiles):
    """Azure's containers."""

    protocol = "az"
