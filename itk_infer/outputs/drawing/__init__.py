"""What pictures of cases are drawn with: a case as it is seen, its planes, words, and the file."""
