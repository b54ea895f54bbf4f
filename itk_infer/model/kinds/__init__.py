"""What model files say, one kind of model per file."""
