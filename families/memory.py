"""How much memory is free?"""

import os

import torch

__all__ = ["available_bytes"]


def available_bytes(device: torch.device) -> int:
    """Memory that is free on the device now; all there is where the system does not say, as on macOS."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
