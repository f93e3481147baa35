"""Testing (the paper's III-D): ten crops, scores kept per image, ensembles of them, and what judges them."""
