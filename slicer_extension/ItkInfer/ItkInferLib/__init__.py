"""The code of the ItkInfer module of 3D Slicer.

Only ``scene.py`` imports slicer, and only ``widget.py``, ``table.py`` and ``wiring.py`` use Qt. The other files
are plain Python 3.9 and are tested without Slicer.
"""
