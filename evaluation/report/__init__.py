"""Tables and figures: the results section of the paper, and the plotting that others use."""
