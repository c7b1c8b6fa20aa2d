"""The benchmark runs and divides what it should; how fast things are is no matter for a test."""

import sys

import pytest

from lib.paths.benchmark import interleaved, main, ratios


def test_calls_are_interleaved_and_warmed_up():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    seconds = interleaved(calls, repeats=3, device="cpu")
    assert order == ["a", "b"] * 5
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_ratios_are_medians_over_rounds():
    seconds = {"f": [1, 1, 2], "n": [2, 3, 2], "b": [4, 4, 4], "m": [4, 8, 6]}
    assert ratios(seconds) == [("n / f", 2), ("m / b", 1.5)]


def test_it_prints_both_ratios(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--size", "32", "--repeats", "1"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ResNet-18, 32 pixels, float32 on cpu"
    assert [line.split(":")[0].strip() for line in lines[-2:]] == [
        "path_norm / forward",
        "path_magnitude / forward + backward",
    ]
    assert float(lines[-1].split()[-1]) > 0


def test_unknown_options_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--dtype", "float16"])
    with pytest.raises(SystemExit):
        main()
    assert "float16" in capsys.readouterr().err
