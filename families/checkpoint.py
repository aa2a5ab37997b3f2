"""How is a model kept?  ``<name>.safetensors`` for its tensors and ``<name>.json`` beside it for all the rest.

Both files are written to a temporary name and renamed, and nothing is ever unpickled. The JSON holds the model's id,
its config and the SHA-256 of the tensors, so a truncated or exchanged file is found before it is used.
"""

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.model import Model
from entorhinal.families.registry import get_class, make

__all__ = ["load", "save", "weights_sha256", "write_atomically"]

FORMAT = 1


def write_atomically(path: Path, content: bytes) -> None:
    """Write all of ``content`` or nothing: to a temporary file in the same folder, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _tensor_bytes(model: Model, dtype: torch.dtype | None) -> bytes:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(model.state_dict().items())}
    if dtype is not None:
        tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    return save_tensors(tensors)


def weights_sha256(model: Model) -> str:
    """SHA-256 of the model's tensors as `save` would write them."""
    return sha256(_tensor_bytes(model, None)).hexdigest()


def save(
    model: Model, path: str | Path, *, provenance: dict[str, Any] | None = None, dtype: torch.dtype | None = None
) -> Path:
    """Write ``path`` (``.safetensors`` is added) and the JSON beside it; returns the tensor file's path.

    dtype: floating tensors are stored in it (``torch.float16`` for shipped checkpoints); None keeps theirs.
    provenance: anything JSON can hold about how the weights came to be.
    """
    tensors_path = Path(path).with_suffix(".safetensors")
    tensors = _tensor_bytes(model, dtype)
    description = {
        "format": FORMAT,
        "model": model.card.id,
        "config": model.config.model_dump(mode="json"),
        "weights_sha256": sha256(tensors).hexdigest(),
        "provenance": provenance or {},
    }
    write_atomically(tensors_path, tensors)
    write_atomically(tensors_path.with_suffix(".json"), json.dumps(description, indent=1).encode())
    return tensors_path


def load(source: str | Path) -> Model:
    """A model by id (with its default config) or from a checkpoint's path, ready to be evaluated.

    A missing, truncated or exchanged file raises `InputError` that names it.
    """
    path = Path(source)
    if path.suffix not in (".safetensors", ".json"):
        if path.exists():
            raise InputError(f"checkpoint {str(path)!r}: give the .safetensors file (or the .json beside it)")
        return make(str(source)).eval()
    tensors_path, json_path = path.with_suffix(".safetensors"), path.with_suffix(".json")
    for file in (tensors_path, json_path):
        if not file.is_file():
            raise InputError(f"checkpoint {str(file)!r}: no such file; a checkpoint is a .safetensors and a .json")
    try:
        description = json.loads(json_path.read_text())
        wanted, found = description["format"], description["weights_sha256"]
        id, values = description["model"], description["config"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"checkpoint {str(json_path)!r}: not a checkpoint's description ({error}); restore it"
        ) from None
    if wanted != FORMAT:
        raise InputError(
            f"checkpoint {str(json_path)!r}: format {wanted}, this version reads {FORMAT}; update entorhinal"
        )
    content = tensors_path.read_bytes()
    if sha256(content).hexdigest() != found:
        raise InputError(
            f"checkpoint {str(tensors_path)!r}: truncated or exchanged (its SHA-256 is not the one in "
            f"{json_path.name}); copy both files again"
        )
    model = get_class(id).make(**values)
    own, tensors = model.state_dict(), dict[str, Tensor]()
    try:
        tensors = load_tensors(content)
        model.load_state_dict({name: t.to(own[name].dtype) if name in own else t for name, t in tensors.items()})
    except (SafetensorError, RuntimeError) as error:
        why = _misfit(model, tensors) or str(error).splitlines()[-1].strip(" \t.")
        raise InputError(
            f"checkpoint {str(tensors_path)!r}: does not fit {id} as {json_path.name} has it: {why}; restore both files"
        ) from None
    return model.eval()


def _misfit(model: Model, tensors: dict[str, Tensor]) -> str:
    """The one field of the config with which the tensors would fit; empty if that is not what is wrong."""
    values, shapes = model.config.model_dump(), {name: tensor.shape for name, tensor in tensors.items()}
    sizes = [
        (wanted, size)
        for name, own in model.state_dict().items()
        for wanted, size in zip(own.shape, shapes.get(name, ()), strict=False)
        if wanted != size
    ]
    for field, value in values.items():
        for wanted, size in dict.fromkeys(sizes):
            if type(value) is int and value == wanted:
                with suppress(InputError):
                    other = type(model).make(**values | {field: size}).state_dict()
                    if {name: tensor.shape for name, tensor in other.items()} == shapes:
                        return f"{field} = {value}, but the weights have {size}"
    return ""
