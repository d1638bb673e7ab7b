"""The wiring that tasks share: options, experiments, the training loop, pictures."""
