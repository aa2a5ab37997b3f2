"""Results that are costly to compute and cheap to keep: tensors on disk, one file a key.

The folder is ``$ENTORHINAL_CACHE``, else ``$XDG_CACHE_HOME/entorhinal``, else ``~/.cache/entorhinal``. It may be
deleted at any time.
"""

import logging
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from entorhinal.families.checkpoint import write_atomically

__all__ = ["cache_folder", "cached_tensors"]

logger = logging.getLogger("entorhinal")


def cache_folder() -> Path:
    """Where the files are; the folder need not exist."""
    if own := os.environ.get("ENTORHINAL_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "entorhinal"


def cached_tensors(key: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors kept under ``key``, or those of ``compute()``, which are then kept. They come back on the CPU.

    key: everything that the result depends on, such as model id, version of the computation and config, as text.

    A corrupt file is computed anew. A folder that cannot be read or written only means that nothing is kept.
    """
    path = cache_folder() / f"{sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        logger.info("cache: %s cannot be read (%s); computing anew", path.name, error)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in compute().items()}
    try:
        write_atomically(path, save(tensors))
    except OSError as error:
        logger.info("cache: nothing kept in %s (%s)", path.parent, error.strerror)
    return tensors
