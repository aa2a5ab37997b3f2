"""Networks trained on positions or place cells."""
