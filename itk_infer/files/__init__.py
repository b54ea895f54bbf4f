"""How files come to be: whole or not at all, known to be ours, unchanged since."""
