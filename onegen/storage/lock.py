"""The operating system's lock on an open file or folder of this machine.

It ends when the file is closed or its process ends, however that ends: no lock is ever left to be broken.
"""

import fcntl


def lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock an open file, for this process alone or `shared` with others who ask so; waits for those that hold it."""
    fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file as `lock` does, without waiting; return whether that was possible."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
