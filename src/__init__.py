"""What the tasks share: data sets, networks, losses, evaluation and the running of experiments."""
