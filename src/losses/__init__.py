"""Training losses; importing this module is quick, options are checked with it."""

COORDINATE_LOSSES = ("l1", "l2", "smooth")  # `src.losses.coordinates.LOSSES` has the functions
HEATMAP_LOSSES = ("mse", "softmax")  # `src.losses.heatmap.LOSSES` has the functions
