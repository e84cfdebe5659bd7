"""Packed views: the order of tokens, the way back, and what is refused."""

import pytest

torch = pytest.importorskip("torch")

from onegen.errors import ConfigError  # noqa: E402
from onegen.model.packing import Layout, PackedViews, pack, unpack  # noqa: E402
from onegen.model.text import TextContext, pack_text  # noqa: E402


def test_tokens_run_by_row_then_column_with_channels_fastest():
    view = torch.arange(2 * 4 * 6).reshape(2, 4, 6)
    packed = pack([[view]])
    assert packed.tokens.shape == (6, 8)
    # token 4 is row 1, column 1; inside: pixel row, pixel column, channel
    wanted = [view[c, 2 + i, 2 + j].item() for i in range(2) for j in range(2) for c in range(2)]
    assert packed.tokens[4].tolist() == wanted


def test_unpack_is_the_inverse_of_pack():
    sizes = [[(2, 4), (6, 2)], [(4, 4)], [(2, 2), (2, 2), (8, 2)]]
    samples = [[torch.randn(3, *size) for size in sample] for sample in sizes]
    back = unpack(pack(samples))
    assert [len(sample) for sample in back] == [2, 1, 3]
    for sample, views in zip(samples, back, strict=True):
        for view, other in zip(sample, views, strict=True):
            assert torch.equal(view, other)


def test_a_layout_knows_where_each_token_sits():
    layout = Layout.from_grids([[(1, 2), (2, 1)], [(1, 1)]])
    assert layout.view_lengths == (2, 2, 1)
    assert layout.sample_lengths == (4, 1)
    assert (layout.num_samples, layout.num_views, layout.num_tokens) == (2, 3, 5)
    assert layout.sample_of_view.tolist() == [0, 0, 1]
    assert layout.view_of_token.tolist() == [0, 0, 1, 1, 2]
    # every view is a frame of its own, counted from 0 in each sample
    assert layout.positions.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_a_layout_first_made_for_inference_serves_training_too():
    grids = [[(3, 5), (2, 7)]]
    with torch.inference_mode():
        made = Layout.from_grids(grids)
    layout = Layout.from_grids(grids)
    assert layout is made, "the latest are kept"
    scale = torch.ones(2, 4, requires_grad=True)
    (scale[layout.view_of_token] * torch.ones(layout.num_tokens, 4)).sum().backward()
    assert scale.grad is not None
    assert scale.grad[:, 0].tolist() == [15.0, 14.0]


def test_a_layout_serves_other_tokens_of_the_same_sizes():
    samples = [[torch.randn(3, 2, 4)], [torch.randn(3, 4, 4)]]
    packed = pack(samples)
    moved = unpack(PackedViews(2 * packed.tokens, packed.layout.to("cpu")))
    assert torch.equal(moved[1][0], 2 * samples[1][0])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "packed batch"),
        ([[torch.zeros(3, 2, 2)], []], "packed batch"),
        ([[torch.zeros(3, 2, 3)]], "divisible by 2"),
        ([[torch.zeros(3, 2, 2), torch.zeros(4, 2, 2)]], "C=3"),
        ([[torch.zeros(2, 2)]], "latent"),
    ],
)
def test_views_that_cannot_be_packed_are_refused(samples, message):
    with pytest.raises(ConfigError, match=message):
        pack(samples)


def test_pack_text_keeps_the_real_tokens_of_each_row_in_order():
    states = torch.arange(12.0).reshape(2, 3, 2)
    packed, lengths = pack_text(states, torch.tensor([[0, 1, 1], [1, 0, 0]]))
    assert lengths == (2, 1)
    assert packed.tolist() == [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    whole, lengths = pack_text(states, None)
    assert lengths == (3, 3)
    assert torch.equal(whole, states.flatten(0, 1))


def test_select_repeats_and_reorders_rows_of_unlike_length():
    rows = torch.arange(6.0)[:, None]
    text = TextContext(
        (2, 0, 3), torch.tensor([[10.0], [11.0], [12.0]]), rows[:5], (rows[:5, None],), (rows[1:, None],)
    )
    chosen = text.select([2, 0, 1, 2])
    assert chosen.lengths == (3, 2, 0, 3)
    assert chosen.pooled.flatten().tolist() == [12, 10, 11, 12]
    assert chosen.states.flatten().tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert chosen.keys[0].flatten().tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert chosen.values[0].flatten().tolist() == [3, 4, 5, 1, 2, 3, 4, 5]
