"""Drawing of pictures of cases: the case in display orientation, its planes, text, and the file."""
