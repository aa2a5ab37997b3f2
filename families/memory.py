"""How much memory is free, and does something fit?"""

import psutil
import torch

from entorhinal.families.errors import InputError

__all__ = ["available_bytes", "check_fits", "ran_out"]


def available_bytes(device: torch.device) -> int:
    """Memory that can be had on the device now; in main memory that of caches that would be given up, too."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def check_fits(owner: str, field: str, count: int, each_bytes: int, device: torch.device, advice: str) -> None:
    """Raise `InputError` that says how many fit, if memory cannot hold ``count`` of ``each_bytes``."""
    if count > (fit := available_bytes(device) // each_bytes):
        raise InputError(f"{owner}: {field} = {count}: {fit} fit in the memory free on {device}{advice}")


def ran_out(error: BaseException) -> bool:
    """Was this error raised for want of memory?"""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
