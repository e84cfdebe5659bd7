"""Which pixels belong to which entity."""
