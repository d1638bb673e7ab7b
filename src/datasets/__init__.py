"""Data sets: skeletons, readers, synthetic people, crops, augmentation and targets."""
