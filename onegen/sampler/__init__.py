"""Sampling images, conditions and views from a trained OneDiffusion model."""
