"""Recurrent sheets whose pattern of bumps moves with the animal."""
