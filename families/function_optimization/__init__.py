"""Grids as the optimum of an objective over spatial maps."""
