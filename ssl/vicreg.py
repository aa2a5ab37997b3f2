"""VICReg on the network and data of `ssl/sic`: a general loss of self-supervised learning as a control.

Two states at nearly one place are the two views (`entorhinal.ssl.paired_views`); the loss (Bardes, Ponce & LeCun 2022,
`entorhinal.ssl.vicreg_losses`) asks that they agree, that every unit varies, and that no two units covary. Nothing in
it knows of distances beyond σ_x. Codes have unit norm, so they are multiplied by √N for the loss: then rates have a
mean square of 1, and a standard deviation of 1 is what a unit without a mean would have.
"""

from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Card
from entorhinal.ssl.paired_views import PairedViews, PairedViewsConfig
from entorhinal.ssl.velocity_network import PROVENANCE
from entorhinal.ssl.vicreg_losses import vicreg

__all__ = ["VICReg", "VICRegConfig"]


class VICRegConfig(PairedViewsConfig):
    invariance_weight: float = Field(25.0, ge=0, description="λ")
    variance_weight: float = Field(25.0, ge=0, description="μ")
    covariance_weight: float = Field(1.0, ge=0, description="ν")


class VICReg(PairedViews):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    Config = VICRegConfig
    card = Card(
        id="ssl/vicreg-v1",
        title="VICReg on the network of SIC",
        citation="""@inproceedings{bardes2022,
  title = {{VICReg}: Variance-Invariance-Covariance Regularization for Self-Supervised Learning},
  author = {Bardes, Adrien and Ponce, Jean and LeCun, Yann},
  booktitle = {International Conference on Learning Representations},
  year = {2022}
}""",
        training_extent_m=2.0,
        lattice="emerged",
        supervision="pairs",
        settings_tried=12,
        tuned_on="grid scores",
        deviations=(
            "network and data are those of ssl/sic, and views are states at nearly one place",
            "the loss is on the codes themselves, times √N: there is no expander network",
        ),
        provenance=PROVENANCE
        | {
            "pairs": "chosen here",
            "invariance_weight": "Bardes et al. 2022",
            "variance_weight": "Bardes et al. 2022",
            "covariance_weight": "Bardes et al. 2022",
        },
    )

    def __init__(self, config: VICRegConfig) -> None:
        super().__init__(config, ("invariance_weight", "variance_weight", "covariance_weight"))

    def pair_terms(self, first: Tensor, second: Tensor, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
        scale = first.shape[-1] ** 0.5
        return vicreg(scale * first, scale * second, **numbers)
