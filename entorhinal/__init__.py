"""entorhinal: every theory of grid cells behind one interface, trained and scored by one harness.

The rooms of the project (families, ssl, analysis, benchmarks, paper_figures) lie at the top of a checkout and inside
this package in an installed wheel; in both cases they are imported as ``entorhinal.<room>``.
"""

from pathlib import Path

__version__ = "0.1.0"
INTERFACE_VERSION = 1

_here = Path(__file__).resolve().parent
if (_here / "families").is_symlink() or not (_here / "families").is_dir():  # a checkout: the rooms lie beside us
    __path__ = [str(_here.parent)]
del Path, _here
