"""Sizes and times."""

from __future__ import annotations

import pytest

from include.campaign.units import parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "size"),
    [("1 B", 1), ("1 kB", 1024), ("500 MB", 500 * 2**20), ("500MiB", 500 * 2**20), ("2 GB", 2**31),
     ("1.5 GB", 3 * 2**29), ("0.1 kB", 103), (" 1 TB ", 2**40)],
)  # fmt: skip
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("30 s", 30), ("30 min", 1800), ("8h", 28800), ("1.5 d", 129600)]
)
def test_times(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "2",
        "2 GHz",
        "-2 GB",
        "2 2 GB",
        "GB",
        "",
        "٢ GB",
        "1e3 MB",
        2,
        2.0,
        None,
        True,
        [],
        {},
        "9" * 13 + " B",
    ],
)
def test_what_is_no_size_names_the_units(value: object) -> None:
    with pytest.raises(ValueError, match="B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"):
        parse_size(value)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("2 gb", "2 GB"), ("2 K", "2 kB"), ("2 M", "2 MB"), ("2 mib", "2 MiB")]
)
def test_a_size_is_guessed(wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {meant}\\?"):
        parse_size(wrong)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("2 m", "2 min"), ("2 hours", "2 h"), ("2 sec", "2 s"), ("2 D", "2 d")]
)
def test_a_time_is_guessed(wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {meant}\\?"):
        parse_time(wrong)
