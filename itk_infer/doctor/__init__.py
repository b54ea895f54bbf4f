"""What is installed here, and what to know about it."""
