"""What ends a test that hangs."""

from __future__ import annotations


def test_threads_that_run_are_looked_at_by_themselves_or_at_the_end_of_the_process(pytestconfig):
    """faulthandler reads the frames of running threads from outside, and CPython 3.11 can crash of that, silently."""
    assert float(pytestconfig.getini("faulthandler_timeout")) > float(pytestconfig.getini("timeout"))
    assert pytestconfig.getini("faulthandler_exit_on_timeout")
