"""The flags that the arbiter and its workers share."""

import os

from service.server.service_state import ServiceState


def test_begins_with_no_flag_set() -> None:
    state = ServiceState.create()
    assert (state.is_stopping, state.shares_sockets, state.was_ready) == (False, False, False)


def test_a_flag_that_one_process_sets_is_seen_by_another() -> None:
    state, other = ServiceState.create(), ServiceState.create()
    if not (child := os.fork()):
        state.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert (state.is_stopping, state.shares_sockets, state.was_ready) == (True, False, False)
    assert not other.is_stopping
