"""SimCLR on the network and data of `ssl/sic`: a contrastive loss as a control.

Two states at nearly one place are the two views (`entorhinal.ssl.paired_views`); each is to be told from all other
states of the P pairs (Chen, Kornblith, Norouzi & Hinton 2020, `entorhinal.ssl.simclr_losses`). Unlike SIC's separation
the loss knows no σ_x beyond the choice of pairs: other pairs count as different places even where they are near.
"""

from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Card
from entorhinal.ssl.paired_views import PairedViews, PairedViewsConfig
from entorhinal.ssl.simclr_losses import nt_xent
from entorhinal.ssl.velocity_network import PROVENANCE

__all__ = ["SimCLR", "SimCLRConfig"]


class SimCLRConfig(PairedViewsConfig):
    temperature: float = Field(0.5, gt=0, description="τ")


class SimCLR(PairedViews):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    Config = SimCLRConfig
    card = Card(
        id="ssl/simclr-v1",
        title="SimCLR on the network of SIC",
        citation="""@inproceedings{chen2020,
  title = {A Simple Framework for Contrastive Learning of Visual Representations},
  author = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  booktitle = {International Conference on Machine Learning},
  year = {2020}
}""",
        training_extent_m=2.0,
        lattice="emerged",
        supervision="pairs",
        settings_tried=12,
        tuned_on="grid scores",
        deviations=(
            "network and data are those of ssl/sic, and views are states at nearly one place",
            "the loss is on the codes themselves: there is no projection head",
        ),
        provenance=PROVENANCE
        | {
            "pairs": "chosen here",
            "temperature": "Chen et al. 2020, of the values they compare for images",
        },
    )

    def __init__(self, config: SimCLRConfig) -> None:
        super().__init__(config, ("temperature",))

    def pair_terms(self, first: Tensor, second: Tensor, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"total": nt_xent(first, second, temperature=numbers["temperature"])}
