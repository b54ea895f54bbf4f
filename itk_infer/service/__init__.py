"""Processes that wait for work: a queue of jobs, and the servers in front of it."""
