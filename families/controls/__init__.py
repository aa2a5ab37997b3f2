"""What every score must be read against: nulls, ceilings, and codes that are not grids."""
