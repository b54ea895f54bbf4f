"""DICOM series: files, headers, geometry and pixels. Imports nothing heavy."""
