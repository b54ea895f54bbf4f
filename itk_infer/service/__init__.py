"""Servers that segment on request: a queue of jobs with HTTP and DICOM interfaces."""
