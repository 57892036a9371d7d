"""The playground in a browser, offline, operated by mouse, keyboard, phone and address."""

import json
import statistics
from urllib.parse import parse_qs

import numpy as np
import pytest
from typer.testing import CliRunner

import steepest
from steepest import surfaces
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.playground import play
from steepest_workshop.bench import play as bench

from ..browsing import opened, until

WIDE = {"width": 1440, "height": 900}
FOCUS = """(e => [e.id || e.ariaLabel || e.textContent, getComputedStyle(e).outlineStyle])(document.activeElement)"""
# Milliseconds: half a frame of a fast screen, and the limit of perceptible delay; three times that on busy machines.
HANDLER, TASK, SLACK = 8, 50, 3


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return play().write(tmp_path_factory.mktemp("play") / "play.html")


def at(tab):
    """What the page's address says, once it has been written."""
    tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 220)))")  # the page writes it after 200 ms
    return {k: v[0] for k, v in parse_qs(tab.evaluate("location.hash.slice(1)"), keep_blank_values=True).items()}


def pixels(tab, canvas="map"):
    return tab.evaluate(f"document.getElementById('{canvas}').toDataURL()")


def ends(tab):
    return tab.eval_on_selector_all("#rules .end", "all => all.map(e => e.textContent)")


def run_python(text):
    """The paths of copied Python code, which is run unchanged."""
    names = {}
    exec(text, names)
    return names["descent"].paths


def copied(tab, button="#copy-python"):
    tab.click(button)
    text = tab.evaluate("window.copied")
    assert tab.inner_text("#code pre").strip() == text.strip()
    tab.keyboard.press("Escape")
    return text


def exported(tab):
    with tab.expect_download() as waiting:
        tab.click("#save-json")
    return json.loads(waiting.value.path().read_text(encoding="utf-8"))


def same_numbers(tab):
    """The page's values against those of the Python code that it copies."""
    ours, theirs = exported(tab)["optimizers"], run_python(copied(tab))
    assert len(ours) == len(theirs) > 0
    for one, path in zip(ours, theirs, strict=True):
        upto = path.diverged_at
        assert one["diverged_at"] == upto
        assert one["lr"] == path.lr
        # rounding grows with the steps; a stable path of 500 moves by 1e-9 (see test_javascript.py)
        np.testing.assert_allclose(one["points"], path.points[:upto], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(one["values"], path.values[:upto], rtol=1e-7, atol=1e-8)
    return theirs


def test_dragging_the_start_redraws_every_path_within_a_frame(chromium, page):
    with opened(chromium, page, **WIDE, address=bench.ADDRESS) as tab:
        before = pixels(tab), ends(tab), pixels(tab, "heights")
        spent = bench.dragged(chromium, tab)
        assert all(was != now for was, now in zip(before, (pixels(tab), ends(tab), pixels(tab, "heights")), strict=True))
        assert float(at(tab)["start"].split(",")[0]) > -4.4  # 237 pixels to the right of -4.5
        assert spent["moves"] >= bench.MOVES / 2
        assert spent["handler_ms"] < HANDLER * SLACK
        assert spent["longest_task_ms"] < TASK * SLACK
        same_numbers(tab)


def test_the_transport_plays_and_steps_both_ways(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=bowl&steps=40&rules=sgd@0.05,adam@0.1") as tab:
        assert tab.inner_text("#at-said") == "40 of 40"
        last = ends(tab)
        tab.click("#back")
        assert tab.inner_text("#at-said") == "39 of 40"
        assert ends(tab) != last
        tab.click("#forward")
        assert ends(tab) == last
        tab.click("#first")
        assert tab.inner_text("#at-said") == "0 of 40"
        assert ends(tab) == ["3.25", "3.25"]
        still = pixels(tab)
        tab.select_option("#speed", "200")
        tab.click("#play")
        assert tab.get_attribute("#play", "aria-label") == "Pause"
        until(tab, "document.getElementById('at-said').textContent === '40 of 40'")
        assert tab.get_attribute("#play", "aria-label") == "Play"
        assert pixels(tab) != still
        tab.locator("#at").focus()
        tab.keyboard.press("ArrowLeft")
        assert tab.inner_text("#at-said") == "39 of 40"
        box = tab.locator("#heights").bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert abs(int(tab.inner_text("#at-said").split()[0]) - 18) < 4  # the cursor of the heights moves that of the map
        assert int(at(tab)["at"]) == int(tab.inner_text("#at-said").split()[0])


def test_rates_hyperparameters_schedule_noise_and_steps_change_the_paths_as_python_says(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=beale&rules=sgd@0.01,adam@0.1") as tab:
        seen = [ends(tab)]

        def changed():
            now = ends(tab)
            assert now not in seen
            seen.append(now)

        tab.click("[aria-label='Lower the rate of sgd']")
        assert tab.input_value("[aria-label='Rate of sgd']") == "0.003"
        changed()
        tab.fill("[aria-label='Rate of adam']", "0.07")
        changed()
        tab.click("[aria-label='Hyperparameters of adam']")
        tab.locator("#rules>li:nth-child(2) .hyper label", has_text="beta1").locator("input").fill("0.5")
        tab.keyboard.press("Tab")
        changed()
        tab.locator("#rules>li:nth-child(2) .hyper label", has_text="amsgrad").locator("input").check()
        changed()
        tab.select_option("#schedule", "cosine")
        changed()
        tab.fill("#noise", "0.3")
        changed()
        tab.fill("#seed", "5")
        changed()
        tab.fill("#steps", "120")
        changed()
        paths = same_numbers(tab)
        assert [path.name for path in paths] == ["sgd", "adam(beta1=0.5, amsgrad=True)"]
        assert len(paths[0].points) == 121
        tab.locator("#rules>li:nth-child(2) .hyper label", has_text="beta1").locator("input").fill("1.5")
        tab.keyboard.press("Tab")
        assert tab.inner_text("#rules>li:nth-child(2) .mistake") == "beta1 is 1.5; expected a number in [0, 1)."
        assert ends(tab) == seen[-1]
        tab.fill("#steps", "0")
        assert "Gradients is a whole number from 1 to" in tab.inner_text("#run-said")
        tab.select_option("#add", "lion")
        assert len(ends(tab)) == 3
        assert tab.locator("#add option[value=muon]").is_disabled()
        tab.click("[aria-label='Remove sgd']")
        assert tab.eval_on_selector_all("#rules .name", "all => all.map(e => e.textContent)")[1] == "lion"
        same_numbers(tab)


def test_turning_the_surface_turns_plain_paths_and_changes_adaptive_ones(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=valley&steps=100&rules=sgd@0.03,momentum@0.01,adam@0.3") as tab:
        before = ends(tab)
        tab.locator("#turn").focus()
        for _ in range(30):
            tab.keyboard.press("ArrowRight")
        assert tab.inner_text("#turn-said") == "30°"
        after = ends(tab)
        assert after[:2] == before[:2]
        assert after[2] != before[2]
        assert ".turned(30)" in copied(tab)
        same_numbers(tab)
        assert "2/λ = 0.04" in tab.inner_text("#bound")


def test_a_formula_is_drawn_and_a_hostile_one_refused(chromium, page):
    with opened(chromium, page, **WIDE) as tab:
        tab.fill("#formula", "x**2 + 3*sin(y)**2")
        tab.keyboard.press("Enter")
        assert tab.inner_text("#formula-said") == ""
        assert at(tab)["formula"] == "x**2 + 3*sin(y)**2"
        same_numbers(tab)
        drawn = pixels(tab)
        for text in (
            "alert(1) + y",
            "fetch(y)",
            "x.constructor.constructor(y)",
            "(" * 100 + "y",
            "<img src=x onerror=alert(1)>",
        ):
            tab.fill("#formula", text)
            tab.keyboard.press("Enter")
            assert tab.inner_text("#formula-said").startswith("This formula is refused: ")
            assert pixels(tab) == drawn
    with opened(chromium, page, **WIDE, address="formula=alert(1)%2By") as tab:
        assert tab.inner_text("#formula-said").startswith("This formula is refused: 'alert' is not known")
        assert tab.eval_on_selector("#formula", "e => e.value") == "x**2/2 + 25.0*y**2"


def test_an_address_shows_the_same_picture_to_another(chromium, page):
    address = "surface=himmelblau&turn=-20&steps=150&noise=2&seed=3&rules=sgd@0.005,adam(beta1=0.5)@0.2&follow=0"
    with opened(chromium, page, **WIDE, address=address) as tab:
        tab.locator("#start").focus()
        tab.keyboard.press("Shift+ArrowRight")
        tab.click("#back")
        tab.locator("#copy-link").focus()
        shared, seen = copied(tab, "#copy-link"), (ends(tab), pixels(tab), pixels(tab, "heights"))
    with opened(chromium, page, **WIDE, address=shared.partition("#")[2]) as tab:
        assert (ends(tab), pixels(tab), pixels(tab, "heights")) == seen
        tab.keyboard.press("Tab")
        same_numbers(tab)


def test_a_switch_and_two_of_the_same_rule_run_in_python_too(chromium, page):
    rules = "adam(eps=1)@0.05,adam@0.05,switch(adam,sgd)(at=9,then_ratio=0.5)@0.1,nesterov_lookahead@0.01"
    with opened(chromium, page, **WIDE, address=f"surface=plateau&steps=61&rules={rules}") as tab:
        assert len(same_numbers(tab)) == 4


def test_a_path_that_leaves_says_when(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=valley&rules=sgd@0.05,adam@0.5&start=-4.5,1.2") as tab:
        assert at(tab)["surface"] == "valley"
        path = steepest.trajectory("valley", ["sgd"], lrs=0.05, start=(-4.5, 1.2)).paths[0]
        left = path.leaves(surfaces.get("valley").domain)
        assert f"sgd leaves the frame at step {left} and diverges at step {path.diverged_at}." in tab.inner_text("#said")
        assert ends(tab)[0] == f"diverged at step {path.diverged_at}"


def test_an_address_in_an_open_page_owes_nothing_to_what_stood_there(chromium, page):
    address = "surface=bowl&noise=2&turn=30&schedule=cosine&panel=basins&rules=sgd@0.1"
    with opened(chromium, page, **WIDE, address=address) as tab:
        assert at(tab)["noise"] == "2"
        tab.evaluate("location.hash = 'surface=bowl&steps=200&rules=sgd@0.1'")
        assert not {"noise", "turn", "schedule", "panel"} & set(at(tab))
        assert ends(tab) == ends_of("bowl", "sgd", 0.1)


def ends_of(surface, name, lr):
    value = steepest.trajectory(surface, [name], lrs=lr).paths[0].values[-1]
    mantissa, exponent = f"{value:.3e}".split("e")
    return [f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")]


def test_a_lessons_answer_is_about_the_paths_that_are_shown(chromium, page):
    with opened(chromium, page, **WIDE, reduced_motion="reduce") as tab:
        tab.select_option("#lesson", "2")
        tab.fill("#start-x", "1")
        tab.click("[aria-label='Raise the rate of sgd']")
        tab.locator("#lesson-card .options button").first.click()
        assert (at(tab)["start"], at(tab)["rules"]) == ("-4.5,1.2", "sgd@0.03")


def test_a_finger_scrolls_over_the_map_and_a_tap_moves_the_start(chromium, page):
    with opened(chromium, page, width=390, height=800, has_touch=True, is_mobile=True) as tab:
        before, box = at(tab)["start"], tab.locator("#map").bounding_box()
        finger = tab.context.new_cdp_session(tab)
        x, y = box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"]
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for k in range(1, 8):
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 20 * k}]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        tab.wait_for_timeout(400)  # a browser hears late that a touch was a tap
        assert at(tab)["start"] == before
        tab.evaluate("scrollTo(0, 0)")
        tab.touchscreen.tap(x, y)
        tab.wait_for_timeout(400)
        assert at(tab)["start"] != before


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1300, 850), (900, 800), (390, 800)])
def test_the_names_of_the_lines_stand_outside_a_map_in_the_shape_of_its_surface(chromium, page, width, height):
    with opened(
        chromium, page, width=width, height=height, address="surface=bowl&rules=sgd@0.1,adam@0.1,adam(eps=1)@0.1"
    ) as tab:
        assert tab.eval_on_selector_all("#legend li", "all => all.map(e => e.textContent)") == ["sgd", "adam", "adam(eps=1)"]
        box, legend, canvas = (tab.locator(f"#{id}").bounding_box() for id in ("map-box", "legend", "map"))
        assert legend["y"] >= box["y"] + box["height"]
        assert canvas["width"] == pytest.approx(box["width"], abs=2.1)  # the borders
        assert box["width"] / box["height"] == pytest.approx(1, abs=0.05)
        tab.click("[aria-label='Remove adam']")
        assert tab.eval_on_selector_all("#legend li", "all => all.map(e => e.textContent)") == ["sgd", "adam"]
        assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_a_sweep_and_basins_answer_to_clicks_and_keys(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=himmelblau&rules=sgd@0.01&panel=basins") as tab:
        until(tab, "(document.getElementById('basins').getAttribute('aria-label') || '').includes('Of ')")
        assert "diverged" in tab.get_attribute("#basins", "aria-label")
        start = at(tab)["start"]
        box = tab.locator("#basins").bounding_box()
        tab.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.2 * box["height"])
        clicked = at(tab)["start"]
        assert clicked != start
        tab.locator("#basins").focus()
        tab.keyboard.press("ArrowLeft")
        assert float(at(tab)["start"].split(",")[0]) < float(clicked.split(",")[0])
        tab.click("#tab-rates")
        tab.wait_for_timeout(500)
        box = tab.locator("#sweep").bounding_box()
        tab.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
        rate = float(at(tab)["rules"].split("@")[1])
        assert 1e-4 < rate < 0.01
        tab.locator("#sweep").focus()
        tab.keyboard.press("ArrowRight")
        assert float(at(tab)["rules"].split("@")[1]) == pytest.approx(rate * 10**0.1, rel=0.05)


def factors(tab):
    """The table of the phase diagram: damping, measured and theoretical factor of flat, steep and both."""
    rows = tab.eval_on_selector_all("#phase-factors tr", "all => all.map(r => [...r.children].map(c => c.textContent))")
    return [(row[2], row[3], row[4]) for row in rows]


def test_the_plot_of_heights_is_drawn_at_its_size_when_a_panel_changes_it(chromium, page):
    size = "(c => [c.height, Math.round(c.clientHeight * Math.min(devicePixelRatio, 2))])(document.getElementById('heights'))"
    with opened(chromium, page, **WIDE, address="surface=valley") as tab:
        heights = []
        for panel in ("phase", "step"):
            tab.click(f"#tab-{panel}")
            drawn, shown = tab.evaluate(size)
            assert drawn == shown
            heights.append(shown)
        assert heights[0] < heights[1]


def test_the_map_of_rate_and_momentum_moves_the_path_and_is_moved_by_the_list(chromium, page):
    address = "surface=valley&rules=sgd@0.03,momentum@0.0046&panel=phase&follow=1&steps=300"
    with opened(chromium, page, **WIDE, address=address) as tab:
        (flat, *_), (steep, *_), (_, measured, theory) = factors(tab)
        assert (flat, steep) == ("under-damped", "under-damped")
        assert float(theory) == pytest.approx(0.9**0.5, abs=1e-4)
        assert float(measured) == pytest.approx(0.9**0.5, rel=0.005)
        before = pixels(tab), pixels(tab, "phase"), pixels(tab, "along")
        tab.click("[aria-label='Raise the rate of momentum']")  # the list moves the point
        assert all(
            was != now for was, now in zip(before, (pixels(tab), pixels(tab, "phase"), pixels(tab, "along")), strict=True)
        )
        box = tab.locator("#phase").bounding_box()
        x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"]
        before = pixels(tab)
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.mouse.move(x + 60, y + 20, steps=3)  # and the point moves the path
        tab.mouse.up()
        rules = at(tab)["rules"]
        assert rules.startswith("sgd@0.03,momentum(momentum=0.")
        rate, momentum = float(rules.split("@")[2]), float(rules.split("(momentum=")[1].split(")")[0])
        assert 0.02 < rate < 0.06
        assert 0.3 < momentum < 0.6
        assert tab.input_value("[aria-label^='Rate of momentum(momentum='][type=number]") == f"{rate:g}"
        assert pixels(tab) != before
        assert [row[0] for row in factors(tab)] == ["over-damped", "under-damped", ""]
        same_numbers(tab)
        tab.click("#phase-best")
        assert float(factors(tab)[2][2]) == pytest.approx((50**0.5 - 1) / (50**0.5 + 1), abs=0.02)  # √ of a rounded momentum
        tab.locator("#phase").focus()
        for _ in range(6):
            tab.keyboard.press("Shift+ArrowRight")
        assert factors(tab)[1][0] == "diverging"
        assert float(factors(tab)[2][1]) > 1
        tab.keyboard.press("ArrowUp")
        assert "(momentum=0.576)" in at(tab)["rules"]
        tab.select_option("#name", "himmelblau")
        assert "For a quadratic with a minimum" in tab.inner_text("#panel-phase")
        assert tab.locator("#phase").is_hidden()
    with opened(chromium, page, **WIDE, address="surface=booth&rules=adam@0.1&panel=phase") as tab:
        tab.click("text=Add momentum")
        assert tab.locator("#phase").is_visible()
        assert len(factors(tab)) == 3


def test_a_finger_drags_the_point_of_rate_and_momentum(chromium, page):
    screen = {"width": 390, "height": 800, "has_touch": True, "is_mobile": True}
    with opened(chromium, page, **screen, address="surface=valley&rules=momentum@0.0046&panel=phase") as tab:
        tab.locator("#phase").scroll_into_view_if_needed()
        box, scrolled = tab.locator("#phase").bounding_box(), tab.evaluate("scrollY")
        finger = tab.context.new_cdp_session(tab)
        x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
        for kind, moved in (("touchStart", 0), ("touchMove", 15), ("touchMove", 40), ("touchEnd", None)):
            points = [] if moved is None else [{"x": x + moved, "y": y - moved}]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        rules = at(tab)["rules"]
        assert 0.02 < float(rules.split("@")[1]) < 0.06
        assert 0.55 < float(rules.split("momentum=")[1].split(")")[0]) < 0.85
        assert abs(tab.evaluate("scrollY") - scrolled) < 30  # the finger's way is 40; the list of rules above grew by a line


def test_newton_walks_beside_the_rules_and_says_when_the_hessian_is_not_positive_definite(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=rosenbrock&rules=sgd@0.001&steps=20") as tab:
        tab.select_option("#add", "newton")
        assert at(tab)["rules"].endswith("newton@1")
        shown, names = exported(tab)["optimizers"], {}
        assert "not positive definite" not in tab.inner_text("#said")
        exec(copied(tab), names)
        np.testing.assert_allclose(shown[1]["points"], names["newton"], rtol=1e-9, atol=1e-9)
        assert shown[1]["points"][-1] == pytest.approx([1, 1])
        tab.click("#first")
        tab.click("#forward")
        rows = tab.eval_on_selector_all("#panel-step tbody th", "all => all.map(e => e.textContent)")
        assert {"g", "det", "d", "Δθ"} <= set(rows)
    address = "surface=himmelblau&rules=newton@1&start=-0.5,-1&schedule=cosine&noise=0.1&seed=3&steps=9&turn=20"
    with opened(chromium, page, **WIDE, address=address) as tab:
        assert at(tab)["noise"] == "0.1"
        assert "At step 1 newton meets a Hessian that is not positive definite" in tab.inner_text("#said")
        names = {}
        exec(copied(tab), names)
        np.testing.assert_allclose(exported(tab)["optimizers"][0]["points"], names["newton"], rtol=1e-7, atol=1e-7)


def test_this_step_shows_the_numbers_of_the_step_at_the_cursor(chromium, page):
    with opened(chromium, page, **WIDE, address="surface=beale&rules=adam@0.1&steps=30&at=7") as tab:
        rows = tab.eval_on_selector_all("#panel-step tbody tr", "all => all.map(r => [...r.children].map(c => c.textContent))")
        assert [row[0] for row in rows] == ["g", "mₜ", "m̂", "vₜ", "v̂", "√v̂", "θₜ", "Δθ"]
        path = steepest.trajectory("beale", ["adam"], lrs=0.1, steps=30).paths[0]
        move = path.points[7] - path.points[6]
        shown = [float(cell.replace("−", "-")) for cell in rows[-1][2:]]
        assert shown == pytest.approx(move.tolist(), rel=1e-3)
        tab.click("#first")
        assert "No step is taken yet" in tab.inner_text("#panel-step")


def test_lessons_ask_before_they_show(chromium, page):
    with opened(chromium, page, **WIDE, reduced_motion="reduce") as tab:
        count = len(tab.locator("#lesson option").all()) - 1
        for k in range(1, count + 1):
            tab.select_option("#lesson", str(k))
            options = tab.locator("#lesson-card .options button")
            assert options.count() == 3
            assert tab.locator("#reveal").count() == 0
            assert k == 7 or ends(tab) == [""] * len(ends(tab))
            options.first.click()
            assert all(ends(tab))
            assert tab.locator("#lesson-card .options .right").count() == 1
            right = tab.locator("#lesson-card .options button").first.get_attribute("class") == "right"
            assert tab.inner_text("#reveal").startswith("Right." if right else "Not so.")
            assert tab.evaluate("document.activeElement.id") == "reveal"
            assert "Answer first" not in tab.inner_text("#surface")
        tab.click("text=To the playground")
        assert tab.locator("#lesson-card").is_hidden()


@pytest.mark.parametrize("panel", ["step", "rates", "phase", "basins"])
def test_nothing_asks_for_an_answer_that_was_given_while_the_paths_play(chromium, page, panel):
    with opened(chromium, page, **WIDE, address=f"lesson=5&panel={panel}") as tab:
        until(tab, "document.getElementById('said').textContent.startsWith('Answer first')")
        assert "Answer first" in tab.inner_text(f"#panel-{panel}")
        tab.select_option("#speed", "5")
        tab.locator("#lesson-card .options button").first.click()
        until(tab, "/^[2-9] of/.test(document.getElementById('at-said').textContent)")
        assert tab.get_attribute("#play", "aria-label") == "Pause"
        until(tab, "!document.getElementById('surface').innerText.includes('Answer first')", most=1)


def said(tab):
    """The step and the text of both networks."""
    words = tab.eval_on_selector_all("#network .contender .said", "all => all.map(e => e.textContent)")
    return [(int(word.split(":")[0].removeprefix("step ")), word.split(": ")[1]) for word in words]


def test_a_network_is_trained_by_two_rules_side_by_side(chromium, page):
    address = "tab=network&net-data=moons&net-steps=120&net-seed=3&net-a=sgd@0.05&net-b=adam@0.03"
    with opened(chromium, page, **WIDE, address=address) as tab:
        first = said(tab)
        assert [step for step, _ in first] == [0, 0]
        assert first[0][1] == first[1][1]  # same weights
        maps = [tab.eval_on_selector_all("#network canvas", "all => all.map(c => c.toDataURL())")]
        tab.click("text=One step")
        assert [step for step, _ in said(tab)] == [1, 1]
        tab.get_by_label("Speed, steps a second").select_option("300")
        tab.get_by_role("button", name="Train").click()
        until(tab, "document.querySelector('#network .contender .hint').textContent.startsWith('step 120')")
        maps.append(tab.eval_on_selector_all("#network canvas", "all => all.map(c => c.toDataURL())"))
        assert all(was != now for was, now in zip(*maps, strict=True))
        losses = [float(words.split()[1].rstrip(",")) for _, words in said(tab)]
        assert losses[1] < losses[0] < float(first[0][1].split()[1].rstrip(","))
        ended = said(tab)
        shown = exported(tab)["optimizers"]
        assert [len(one["loss"]) for one in shown] == [121, 121]
        assert [round(one["loss"][-1], 3) for one in shown] == pytest.approx(losses, abs=6e-4)
        address = at(tab)
        assert (address["net-data"], address["net-a"], address["net-b"]) == ("moons", "sgd@0.05", "adam@0.03")
        tab.get_by_role("button", name="Train").click()  # from the start again, to the same end
        until(tab, "document.querySelector('#network .contender .hint').textContent.startsWith('step 120')")
        assert said(tab) == ended
        rules = tab.eval_on_selector("[aria-label='Rule A']", "e => [...e.options].map(o => o.value)")
        assert {"sgd", "lamb", "lion"} <= set(rules)
        assert not {"muon", "adafactor", "sam", "adai"} & set(rules)
        tab.get_by_label("Rate of A", exact=True).fill("1000000")
        tab.keyboard.press("Tab")
        tab.get_by_label("Rule A").focus()
        tab.get_by_role("button", name="Train").click()
        until(tab, "document.querySelector('#network .contender .hint').textContent.includes('diverged at step')")
        assert said(tab)[1][1].startswith("loss")
        tab.get_by_label("Hidden layers").focus()
        tab.keyboard.press("ArrowRight")
        assert at(tab)["net-layers"] == "3"
        assert [step for step, _ in said(tab)] == [0, 0]


def test_units_that_are_0_everywhere_are_counted_above_their_pictures(chromium, page):
    address = "tab=network&net-steps=40&net-layers=1&net-a=sgd@10&net-b=sgd@0.01"
    with opened(chromium, page, **WIDE, address=address) as tab:
        tab.get_by_label("Speed, steps a second").select_option("3000")
        tab.get_by_role("button", name="Train").click()
        until(tab, "document.querySelector('#network .said').textContent.startsWith('step 40')")
        dead, alive = tab.eval_on_selector_all("#network .counted", "all => all.map(e => e.textContent)")
        assert dead.endswith(" 0 everywhere")
        label = tab.get_attribute("#network .units >> nth=0", "aria-label")
        assert label.split("; ")[1].split()[0] == dead.split("; ")[1].split()[0]
        assert alive == "What each hidden unit computes, a row for each layer"


def test_a_penalty_lowers_the_test_loss_of_a_network_with_few_noisy_points(chromium, page):
    address = "tab=network&net-points=30&net-noise=0.35&net-steps=600&net-a=adam@0.03&net-b=adam(beta1=0.8)@0.03"
    ends = []
    for penalty in ("", "&net-l2=0.03"):
        with opened(chromium, page, **WIDE, address=address + penalty) as tab:
            units = "[...document.querySelectorAll('#network .units')].map(c => c.toDataURL())"
            before = tab.evaluate(units)
            assert "hidden units" in tab.get_attribute("#network .units >> nth=0", "aria-label")
            tab.get_by_label("Speed, steps a second").select_option("3000")
            tab.get_by_role("button", name="Train").click()
            until(tab, "document.querySelector('#network .contender .hint').textContent.startsWith('step 600')")
            assert all(was != now for was, now in zip(before, tab.evaluate(units), strict=True))
            decisions = "document.querySelector('#network .contender canvas').toDataURL()"
            without = tab.evaluate(decisions)
            tab.get_by_label("show the test points").check()
            assert tab.evaluate(decisions) != without
            data = exported(tab)
            assert (data["points"], data["l2"], len(data["optimizers"][0]["test_loss"])) == (30, 0.03 if penalty else 0, 601)
            ends.append([(one["loss"][-1], one["test_loss"][-1]) for one in data["optimizers"]])
    for (train, test), (penalised_train, penalised_test) in zip(*ends, strict=True):
        assert train < penalised_train < penalised_test < test
    with opened(chromium, page, **WIDE, address="tab=network") as tab:
        tab.get_by_label("L1").focus()
        tab.keyboard.press("ArrowRight")
        assert at(tab)["net-l1"] == "0.0001"


def test_a_network_trains_in_slices_and_rests_when_it_is_not_seen(chromium, page):
    with opened(chromium, page, **WIDE, address="tab=network&net-width=16&net-layers=3&net-steps=5000") as tab:
        tab.get_by_label("Speed, steps a second").select_option("3000")
        chromium.start_tracing(page=tab, categories=["devtools.timeline", "disabled-by-default-devtools.timeline"])
        tab.get_by_role("button", name="Train").click()
        tab.wait_for_timeout(1500)
        events = json.loads(chromium.stop_tracing())["traceEvents"]
        frames = [e["dur"] / 1000 for e in events if e["name"] == "FireAnimationFrame" and "dur" in e]
        assert len(frames) > 20
        assert statistics.median(frames) < 25 * SLACK
        tab.click("#tab-surface")
        tab.wait_for_timeout(200)
        tab.click("#tab-network")
        seen = said(tab)
        assert 0 < seen[0][0] < 5000
        tab.wait_for_timeout(300)
        assert said(tab) == seen


def test_everything_is_reached_and_moved_by_keyboard_alone(chromium, page):
    with opened(chromium, page, **WIDE) as tab:
        reached = set()
        for _ in range(150):
            tab.keyboard.press("Tab")
            focus = tab.evaluate(FOCUS)
            if focus[0] in reached and focus[0] == "tab-surface":
                break
            reached.add(focus[0])
            assert focus[1] != "none" or tab.evaluate("document.activeElement === document.body"), focus  # the focus is visible
        wanted = {
            "tab-surface",
            "lesson",
            "copy-link",
            "copy-python",
            "save-png",
            "save-svg",
            "save-json",
            "start",
            "first",
            "back",
        }
        wanted |= {
            "play",
            "forward",
            "last",
            "at",
            "speed",
            "name",
            "formula",
            "turn",
            "start-x",
            "start-y",
            "add",
            "tune",
            "steps",
        }
        wanted |= {"schedule", "noise", "seed", "tab-step", "panel-step", "Raise the rate of adam", "Rate of adam, fine"}
        assert wanted <= reached, wanted - reached
        tab.locator("#start").focus()
        before = ends(tab), at(tab)["start"]
        tab.keyboard.press("ArrowUp")
        assert ends(tab) != before[0]
        assert float(at(tab)["start"].split(",")[1]) > float(before[1].split(",")[1])
        tab.locator("#tab-surface").focus()
        tab.keyboard.press("ArrowRight")
        assert tab.locator("#network").is_visible()
        assert at(tab)["tab"] == "network"


def test_a_finger_drags_the_start_on_a_phone_and_nothing_scrolls_sideways(chromium, page):
    with opened(chromium, page, width=390, height=800, has_touch=True, is_mobile=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        for panel in ("rates", "basins", "phase", "step"):
            tab.tap(f"#tab-{panel}")
            assert tab.evaluate("document.documentElement.scrollWidth") == 390
        tab.select_option("#lesson", "4")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        tab.select_option("#lesson", "0")
        tab.evaluate("scrollTo(0, 0)")
        before = at(tab)["start"]
        box = tab.locator("#start").bounding_box()
        x, y = box["x"] + 22, box["y"] + 22
        finger = tab.context.new_cdp_session(tab)
        for kind, dx in (("touchStart", 0), ("touchMove", 20), ("touchMove", 60), ("touchEnd", None)):
            points = [] if dx is None else [{"x": x + dx, "y": y + dx / 2}]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        assert float(at(tab)["start"].split(",")[0]) > float(before.split(",")[0]) + 0.3
        tab.tap("#tab-network")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("width", [1300, 390])
def test_no_part_of_the_page_is_wider_than_the_screen(chromium, page, width):
    with opened(chromium, page, width=width, height=850) as tab:
        inner = "[...document.querySelectorAll('#right, #middle, #panel-phase')].map(e => e.scrollWidth - e.clientWidth)"
        wide = f"[document.documentElement.scrollWidth, ...{inner}]"
        for panel in ("step", "rates", "phase", "basins"):
            tab.click(f"#tab-{panel}")
            assert tab.evaluate(wide) == [width, 0, 0, 0], panel
        for k in range(1, tab.locator("#lesson option").count()):
            tab.select_option("#lesson", str(k))
            tab.locator("#lesson-card .options button").first.click()
            assert tab.evaluate(wide) == [width, 0, 0, 0], k
        tab.select_option("#lesson", "0")
        tab.select_option("#add", "newton")
        assert tab.evaluate(wide) == [width, 0, 0, 0]
    with opened(chromium, page, width=width, height=850, address="tab=network&net-layers=3&net-width=16") as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        units = tab.locator("#network .units").first.bounding_box()
        assert units["height"] == pytest.approx(3 * min((units["width"] - 20) / 16, 56), abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_is_found_by_axe(chromium, page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()

    # the other scheme has the same elements in other colours
    asked = {"resultTypes": ["violations"]} | ({"runOnly": ["color-contrast"]} if scheme == "dark" else {})

    def faults(tab, within=None):
        violations = axe.run(tab, within, asked).response["violations"]
        found = [v for v in violations if v["impact"] in ("serious", "critical")]
        return json.dumps([(v["id"], [n["html"] for n in v["nodes"]]) for v in found], indent=1)[:3000] if found else ""

    with opened(chromium, page, **WIDE, color_scheme=scheme) as tab:
        for panel in ("rates", "basins", "phase", "step"):
            tab.click(f"#tab-{panel}")
            assert not faults(tab)
        tab.select_option("#add", "newton")
        assert not faults(tab)
        tab.click("[aria-label='Hyperparameters of adam']")
        tab.click("#licences summary")
        assert not faults(tab)
        tab.select_option("#lesson", "1")
        assert not faults(tab)
        tab.locator("#lesson-card .options button").first.click()
        assert not faults(tab)
        tab.select_option("#lesson", "9")  # with its map of rate and momentum
        assert not faults(tab)
        tab.locator("#lesson-card .options button").first.click()
        assert not faults(tab)
        tab.click("#copy-python")
        assert not faults(tab)
        tab.keyboard.press("Escape")
        tab.click("#tab-network")
        assert not faults(tab)
        tab.evaluate("document.querySelector('#tab-network').style.color = '#888'; document.body.style.background = '#999'")
        assert "color-contrast" in faults(tab, "#tab-network")  # a fault that must be seen
    with opened(chromium, page, width=390, height=800, color_scheme=scheme, address="panel=phase&follow=1") as tab:
        assert not faults(tab)
        tab.click("#tab-network")
        assert not faults(tab)


def test_pictures_are_exported(chromium, page, tmp_path):
    with opened(chromium, page, **WIDE) as tab:
        for kind, begins in (("png", b"\x89PNG"), ("svg", b"<svg")):
            with tab.expect_download() as waiting:
                tab.click(f"#save-{kind}")
            assert waiting.value.suggested_filename == f"steepest-valley.{kind}"
            content = waiting.value.path().read_bytes()
            assert content.startswith(begins)
            assert len(content) > 10_000
        svg = content.decode()
        for name in ("sgd", "momentum", "adam"):
            assert f">{name}<" in svg
        assert "NaN" not in svg


def test_the_command_writes_a_page_that_begins_as_asked(chromium, tmp_path, strict):
    out = tmp_path / "mine.html"
    asked = ["play", "valley(condition=100)", "--optimizers", "sgd,adam(eps=1)", "--out", str(out), "--json", "-"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    said = strict(done.stdout)
    assert said == {
        "out": str(out),
        "bytes": out.stat().st_size,
        "surface": "valley(condition=100)",
        "optimizers": ["sgd", "adam(eps=1)"],
    }
    assert said["bytes"] < 1_500_000
    with opened(chromium, out, **WIDE) as tab:
        assert tab.eval_on_selector_all("#rules .name", "all => all.map(e => e.textContent)") == ["sgd", "adam(eps=1)"]
        assert "from 1 to 100" in tab.inner_text("#bound")
        same_numbers(tab)
    done = CliRunner().invoke(app, ["play", "x**2 + abs(y)", "--optimizers", "lion", "--out", str(out)])
    assert done.exit_code == 0, done.output
    with opened(chromium, out, **WIDE) as tab:
        assert tab.input_value("#formula") == "x**2 + abs(y)"
        same_numbers(tab)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["x**2"], "x**2 has 1 coordinate; the page shows surfaces of 2, such as valley."),
        (["x*y*z"], "x*y*z has 3 coordinates; the page shows surfaces of 2"),
        (["bowl(dims=5)"], "bowl(dims=5) has 5 coordinates"),
        (["import os"], "The formula 'import os' is refused"),
        (["valley", "--optimizers", "muon"], "muon cannot walk on a surface: it looks at the rows and columns of a matrix"),
        (["valley", "--optimizers", "adam,adam"], "each named once"),
        (["valley", "--optimizers", "adma"], "Unknown optimizer 'adma'; did you mean"),
        (["valley", "--out", "nowhere/at/all.html"], "is in a folder that does not exist"),
    ],
)
def test_what_cannot_be_played_is_said_in_a_sentence(asked, said):
    done = CliRunner().invoke(app, ["play", *asked])
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_notebook_shows_the_page_and_a_users_own_rule_walks_on_it(chromium, registry, tmp_path):
    @steepest.rule("mine")
    def halved(p, g, t, m=steepest.rules.zeros, *, lr=0.1, beta=0.5):
        m = beta * m + g
        return p - lr / 2 * m, m

    made = play("bowl", [halved, "sgd"])
    inside = tmp_path / "notebook.html"
    inside.write_text(
        f"<!DOCTYPE html><html lang=en><title>t</title><body>{made._repr_html_()}</body></html>", encoding="utf-8"
    )
    with opened(chromium, inside, **WIDE) as tab:
        frame = tab.frames[1]
        assert frame.eval_on_selector_all("#rules .name", "all => all.map(e => e.textContent)") == ["halved", "sgd"]
        assert frame.eval_on_selector_all("#rules .end", "all => all.every(e => e.textContent)")
    with pytest.raises(SteepestError, match="is in a folder that does not exist"):
        made.write(tmp_path / "no" / "where.html")
