"""Rotary tables: small, one per axis, and the same numbers as the dense table they replace."""

import math

import pytest

torch = pytest.importorskip("torch")

from onegen.errors import ConfigError  # noqa: E402
from onegen.model.packing import Layout  # noqa: E402
from onegen.model.rope import axis_table, axis_tables, rotate, rotation  # noqa: E402


def test_three_tables_at_128_positions_take_less_than_a_megabyte():
    layout = Layout.from_grids([[(128, 1)] * 127 + [(1, 128)]])
    tables = axis_tables(layout, 120)
    assert [len(table) for table in tables] == [128, 128, 128]
    assert sum(table.nbytes for table in tables) < 1e6


def test_entries_are_position_times_frequency():
    table = axis_table(200, 20)
    angle = 137 * 10000 ** (-7 / 20)
    assert abs(table[137, 7].real.item() - math.cos(angle)) < 1e-7
    assert abs(table[137, 7].imag.item() - math.sin(angle)) < 1e-7
    assert abs(axis_table(200, 20, divisor=1.5)[150, 7] - axis_table(200, 20)[100, 7]) < 1e-6


def test_thirds_of_a_head_turn_with_frame_row_and_column():
    layout = Layout.from_grids([[(2, 3), (2, 3)]])
    turns = rotation(layout, 12, torch.zeros(2))
    table = axis_table(3, 2)
    frame, row, column = layout.positions[10].tolist()
    assert (frame, row, column) == (1, 1, 1)
    assert torch.equal(turns[10], torch.cat([table[1], table[1], table[1]]))
    assert torch.equal(turns[8], torch.cat([table[1], table[0], table[2]]))


def test_adjacent_elements_are_turned_and_only_relative_position_counts():
    x = torch.zeros(2, 1, 12)
    x[:, :, 2] = 1.0  # pair 1: frame axis, second frequency
    turned = rotate(x, rotation(Layout.from_grids([[(1, 1), (1, 1)]]), 12, torch.zeros(2)))
    angle = 10000 ** (-1 / 2)
    wanted = torch.zeros(12)
    wanted[2], wanted[3] = math.cos(angle), math.sin(angle)
    assert torch.allclose(turned[1, 0], wanted)
    assert torch.equal(turned[0], x[0])
    turns = axis_table(10, 6)
    query, key = torch.randn(1, 1, 12), torch.randn(1, 1, 12)
    scores = [(rotate(query, turns[i : i + 1]) * rotate(key, turns[i + 3 : i + 4])).sum() for i in (0, 4)]
    assert torch.allclose(scores[0], scores[1], atol=1e-5)


def test_half_precision_is_rotated_in_float32():
    x = torch.randn(1, 2, 12)
    turns = axis_table(101, 6)[100:]
    rotated = rotate(x.bfloat16(), turns)
    assert rotated.dtype == torch.bfloat16
    assert torch.equal(rotated, rotate(x.bfloat16().float(), turns).bfloat16())


def test_a_head_that_does_not_divide_into_three_axes_is_refused():
    with pytest.raises(ConfigError, match="divisible by 6"):
        axis_tables(Layout.from_grids([[(1, 1)]]), 64)
