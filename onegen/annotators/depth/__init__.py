"""How near each pixel is."""
