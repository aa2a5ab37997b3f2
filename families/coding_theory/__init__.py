"""Codes for space: what a population of periodic units can represent, and how well."""
