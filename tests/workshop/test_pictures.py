"""The pictures of the documents show what they say."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from steepest_workshop.lessons import annealed, blocks, collapse, drawn, labels, slides, variants
from steepest_workshop.lessons.training import images


def _texts(axes):
    """The boxes of the labels beside a panel, in pixels."""
    axes.figure.draw_without_rendering()
    return [text.get_window_extent() for text in axes.texts if text.get_transform() == axes.transAxes]


def test_labels_at_the_ends_of_lines_are_apart_near_them_and_in_their_order():
    assert labels.apart(np.array([0.2, 0.9]), 0.1).tolist() == [0.2, 0.9]
    assert labels.apart(np.array([0.52, 0.48]), 0.1) == pytest.approx([0.55, 0.45])
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [10.0, 1000.0])
    axes.set_yscale("log")
    labels.at_ends(axes, {"top": (1000.0, "#000000"), "near": (999.0, "#000000"), "low": (10.0, "#000000")})
    heights = [text.get_position()[1] for text in axes.texts]
    assert heights[0] - heights[1] == pytest.approx(labels.GAP)
    assert heights[0] > 0.9
    assert heights[2] < 0.1


@pytest.mark.parametrize("draw", [blocks.rates_and_momentum, blocks.betas, blocks.adadelta])
def test_no_labels_of_the_slides_pictures_overlap_or_leave_them(draw):
    figure = draw()
    for axes in figure.axes:
        boxes = _texts(axes)
        assert boxes
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_every_printed_value_of_a_block_is_a_dot_in_its_panel():
    rows = list(slides._printed())
    figure = blocks.beside(rows, {"RMSprop(lr=0.001)": "RMSprop"}, "twice")
    for axes, k in zip(figure.axes, (1, 2), strict=True):
        dots = {line.get_label(): line.get_ydata() for line in axes.lines}
        for block, label in ((slides.PRINTED[3], "printed"), (slides.PRINTED[7], "printed again")):
            assert dots[label] == pytest.approx(np.array(block[k].split(), float) / (1, 100)[k - 1])
            assert all(axes.get_ylim()[0] < value < axes.get_ylim()[1] for value in dots[label])


def test_the_difference_of_nesterov_and_momentum_has_axes_of_its_own():
    *_, middle, right = blocks.nesterov().axes
    plain, ahead = (np.array(slides.seeds_of(config, 1)[0]) for config in slides.DRAWN[4:6])
    for axes, column in ((middle, 0), (right, 1)):
        (dots,) = (line for line in axes.lines if line.get_marker() == "o")
        assert dots.get_ydata() == pytest.approx((ahead - plain)[:, column])
        assert abs(dots.get_ydata()).max() > 0.8 * axes.get_ylim()[1]


def test_the_outputs_of_a_collapsed_run_do_not_depend_on_the_image(mnist_folder):
    data = images(flat=False, mean=slides.MEAN, deviation=slides.DEVIATION)
    lost = collapse.inside(0.01, slides.DEAD, 30, data)
    assert lost[0, 1] == pytest.approx(40, abs=2)
    assert lost[0, 2] > collapse.FLOOR
    assert (lost[28:, 2] < collapse.FLOOR).all()
    assert lost[28:, 0] == pytest.approx(np.log(10), abs=0.05)


def test_the_narrow_minimum_keeps_what_descends_slowly_enough():
    words = annealed.narrow().get_gid()
    assert "curvature 60." in words
    assert "2 / curvature, 0.033" in words
    left, middle, _ = annealed.narrow().axes
    assert [axes.lines[-1].get_xdata()[0] for axes in (left, middle)] == pytest.approx([2, 0], abs=0.01)


def test_each_milestone_more_ends_nearer():
    _, right = annealed.milestones().axes
    ends = [line.get_ydata()[-1] for line in right.lines]
    assert ends == sorted(ends, reverse=True)


def test_what_dropout_leaves_is_what_is_drawn():
    before, *after = drawn.dropout().axes
    for axes in (before, *after):
        units = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() != "white"]
        weights = [line for line in axes.lines if len(line.get_xdata()) == 2]
        assert f"{len(units) - 8} hidden units, {len(weights)} weights" in axes.get_title(loc="left")
    assert len({axes.get_title(loc="left") for axes in (before, *after)}) == 3


def test_the_lowest_losses_are_cut_to_three_digits_as_the_document_cuts_them():
    words = variants.lowest().get_gid()
    assert "SGD {0.4: 1.044" in words  # 1.0448, cut
