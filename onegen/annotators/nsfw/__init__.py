"""How likely a photo is pornographic."""
