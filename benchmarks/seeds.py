"""Where does randomness come from?  Every seed is derived by name from one base seed."""

from hashlib import sha256

__all__ = ["derive"]


def derive(base: int, *names: str) -> int:
    """A seed in [0, 2⁶³) for ``names`` under ``base``. Other names or another base give an unrelated seed."""
    digest = sha256("/".join((str(base), *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
