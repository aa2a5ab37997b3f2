"""A model for entorhinal in a package of its own."""
