"""The model example/grid_cosine-v1 for entorhinal."""
