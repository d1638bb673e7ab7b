"""Networks as `src.pose` runs them: a checkpoint with PyTorch, an exported file without."""
