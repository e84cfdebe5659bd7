"""Training: from examples to checkpoints, the same under one process, torchrun and Ray. docs/training.md."""
