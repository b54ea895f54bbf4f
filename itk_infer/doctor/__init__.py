"""Reports the installation, and known problems with it."""
