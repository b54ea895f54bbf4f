"""Output files: written completely or not at all, recognised as this program's, checked for later changes."""
