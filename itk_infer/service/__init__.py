"""Servers that segment on request: a queue of jobs, and the HTTP and DICOM interfaces to it."""
