"""The OneDiffusion network and its encoders, as plain single-device torch."""
