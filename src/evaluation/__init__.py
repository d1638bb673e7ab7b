"""From the output of a network to joints in the picture, and the metrics on them."""
