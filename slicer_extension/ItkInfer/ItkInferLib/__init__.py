"""What the ItkInfer module of 3D Slicer is made of.

Only ``scene.py`` imports slicer, and only ``widget.py`` is given Qt; the rest is plain Python 3.9 and is
tested without Slicer.
"""
