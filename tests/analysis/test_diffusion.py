"""Diffusion coefficients of walks that are known."""

import pytest
import torch

from entorhinal.analysis.diffusion import diffusion_coefficient


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_walk_with_a_noisy_read_out(dimensions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    steps, jitter = (torch.randn(400, 300, dimensions, generator=generator, dtype=torch.float64) for _ in range(2))
    wanted, dt_s = 0.7, 0.02
    path = ((2 * wanted * dt_s) ** 0.5 * steps).cumsum(1)
    found = diffusion_coefficient(path + 0.5 * jitter, dt_s, 0.4)
    assert found.shape == (400,)
    assert found.mean() == pytest.approx(wanted, rel=0.1)
    assert diffusion_coefficient(path, dt_s, 0.02).mean() == pytest.approx(wanted, rel=0.05)
    assert diffusion_coefficient(0.5 * jitter, dt_s, 0.4).mean().abs() < 0.05, "jitter alone is no diffusion"
    assert diffusion_coefficient(3 * path, dt_s, 0.02).mean() == pytest.approx(9 * wanted, rel=0.05)


def test_bad_input() -> None:
    path = torch.zeros(2, 10, 2)
    assert torch.equal(diffusion_coefficient(path, 0.1, 0.2), torch.zeros(2, dtype=torch.float64))
    path[1, 3, 0] = torch.nan
    assert diffusion_coefficient(path, 0.1, 0.2).isnan().tolist() == [False, True]
    for dt_s, lag_s in ((0.1, 0.5), (0.1, 0.01), (0.0, 0.1)):
        with pytest.raises(ValueError, match="path has 10 samples"):
            diffusion_coefficient(path, dt_s, lag_s)
