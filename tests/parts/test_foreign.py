"""What foreign code raises is its own, and Ctrl-C is the user's."""

from __future__ import annotations

import signal
import threading

import pytest

from gflow_core.errors import DataError, PluginError
from gflow_core.parts.foreign import foreign, own


def test_ctrl_c_interrupts_and_the_codes_own_is_its_fault():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), foreign("it"):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), foreign("it"):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemExit(1) from None  # as code that wants to leave in its own way
    with pytest.raises(PluginError, match=r"^it raised KeyboardInterrupt$"), foreign("it"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), foreign("all"), foreign("it"):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_too():
    said = []

    def work():
        try:
            with foreign("it"):
                raise SystemExit(3)
        except PluginError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["it raised SystemExit: 3"]


def test_what_is_passing_passes_and_all_else_has_its_place():
    with pytest.raises(DataError, match="not there"), foreign("it", passing=(DataError,)):
        raise DataError("not there")
    line = test_what_is_passing_passes_and_all_else_has_its_place.__code__.co_firstlineno + 5
    with pytest.raises(PluginError) as error, own("check", test_ctrl_c_interrupts_and_the_codes_own_is_its_fault):
        {}["width"]
    assert str(error.value) == (
        f"its own check raised KeyError: 'width' (a defect of the plugin: {__file__}, line {line})"
    )


def test_the_traceback_is_there_when_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("GFLOW_DEBUG", "1")
    with pytest.raises(PluginError), foreign("it"):
        raise LookupError("boom")
    assert "Traceback" in capsys.readouterr().err
