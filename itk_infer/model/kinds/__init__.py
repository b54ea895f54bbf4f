"""Kinds of models: how their files are recognised, read and loaded."""
