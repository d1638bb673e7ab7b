"""Training losses; importing this module is quick, options are checked with it."""

HEATMAP_LOSSES = ("mse", "softmax")  # `src.losses.heatmap.LOSSES` has the functions
