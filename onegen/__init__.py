"""onegen: make the One-Gen dataset, and train, sample and evaluate OneDiffusion from it."""

__version__ = "0.1.0"
