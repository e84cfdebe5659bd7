"""Networks that metrics are computed with: weights of packages, of a hub, or of a folder."""
