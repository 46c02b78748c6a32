"""The report page in headless Chromium."""

import json
import re
import time

import pytest

from monai_agglo.reporting.page import render_page
from monai_agglo.reporting.run import report

EVIL = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def blocks_in(page):
    text = page.read_text(encoding="utf-8")
    found = (re.search(rf'id="{name}">(.*?)</script>', text, re.DOTALL)[1] for name in ("data", "pictures"))
    return [json.loads(block) for block in found]


@pytest.fixture()
def page(browser, reported):
    """The browser with the report open."""
    show(browser, reported.cases[0].page)
    yield browser
    assert browser.problems == []


def show(browser, path, width=1280):
    browser.problems.clear()
    browser.requests.clear()
    browser.resize(width)
    browser.open(path)
    browser.wait("document.body.dataset.ready && document.getElementById('cine').dataset.frame !== undefined")


def shown(browser):
    return int(browser.evaluate("document.getElementById('cine').dataset.frame"))


def ink(browser):
    """Text that changes with the frame."""
    return browser.evaluate("document.getElementById('cine').toDataURL()")


def go(browser, frame):
    browser.evaluate(f"""(() => {{ const s = document.getElementById('slider'); s.value = {frame};
        s.dispatchEvent(new Event('input')); }})()""")
    browser.wait(f"document.getElementById('cine').dataset.frame === '{frame}'")


def cursor(browser):
    return browser.evaluate("document.querySelector('.cursor').getBoundingClientRect().left")


def test_slider_moves_frame_and_cursor(page):
    go(page, 3)
    first, left = ink(page), cursor(page)
    go(page, 30)
    assert ink(page) != first and cursor(page) > left + 50
    assert page.evaluate("document.getElementById('readout').textContent").startswith("31 / 40")
    page.click("#forward")
    page.wait("document.getElementById('cine').dataset.frame === '31'")
    page.evaluate("document.activeElement.blur()")
    page.key("ArrowLeft")
    page.wait("document.getElementById('cine').dataset.frame === '30'")


def test_event_click_shows_its_frame(page):
    frame = page.evaluate("MEASURES.swallows[0].events.uesc.frame_index")
    go(page, 0)
    page.click(".plot .event[data-event=uesc] rect")
    page.wait(f"document.getElementById('cine').dataset.frame === '{frame}'")
    page.click(".plot", x=0.98, y=0.6)
    page.wait("document.getElementById('cine').dataset.frame === '39'")
    page.click("tr[data-event=bpm] [data-goto]")
    page.wait("Number(document.getElementById('cine').dataset.frame) === MEASURES.swallows[0].events.bpm.frame_index")


def test_toggles_show_and_hide(page):
    go(page, 20)
    page.click("[data-preset=None]")
    bare = ink(page)
    page.click("[data-structure=bolus]")
    page.wait("document.querySelector('[data-structure=bolus]').getAttribute('aria-pressed') === 'true'")
    with_bolus = ink(page)
    page.click("[data-structure=bolus]")
    assert with_bolus != bare and ink(page) == bare
    page.click("[data-option=landmarks]")
    assert ink(page) != bare


def test_playback(page):
    go(page, 0)
    page.click("#play")
    page.wait("Number(document.getElementById('cine').dataset.frame) > 2")
    page.click("#play")
    page.wait("!state.playing")


def test_page_and_table_agree(page, reported):
    rows = page.evaluate(
        "[...document.querySelectorAll('tr[data-measure]')].map((r) => [r.dataset.measure, r.cells[1].textContent])"
    )
    measured = [m for m in reported.cases[0].content["swallows"][0]["measures"] if m["value"] is not None]
    assert sorted(name for name, _ in rows) == sorted(m["name"] for m in measured)
    shown_as = dict(rows)
    for m in measured:
        number = float(re.match(r"[−\d.]+", shown_as[m["name"]])[0].replace("−", "-"))
        assert number == pytest.approx(m["value"], rel=0.06, abs=0.0051), m["name"]


def test_exported_correction_recomputes_the_measures(page, study, reported, random_bundle, own_key, tmp_path):
    old = page.evaluate("MEASURES.swallows[0].events.ueso.frame_index")
    assert page.evaluate("document.getElementById('pending').hidden")
    go(page, old - 1)
    page.click("tr[data-event=ueso] [data-action='Set here']")
    page.evaluate("""(() => { const s = document.querySelector('[data-fact=iddsi]'); s.value = '0';
        s.dispatchEvent(new Event('change')); const v = document.querySelector('[data-fact=volume_ml]');
        v.value = '5'; v.dispatchEvent(new Event('change')); })()""")
    assert "3 changes" in page.evaluate("document.getElementById('pending').textContent")
    assert not page.evaluate("document.querySelector('.stale').hidden")
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#export")
    path = wait_for(tmp_path)
    assert json.loads(path.read_text())["swallows"][0] == {
        "iddsi": 0, "volume_ml": 5, "events_frame_index": {"ueso": old - 1},
    }  # fmt: skip
    done = report(study.cine, tmp_path / "o", random_bundle, view="lateral", masks=study.masks, events=path, repeats=0)
    assert done.cases[0].content["swallows"][0]["events"]["ueso"]["frame_index"] == old - 1
    show(page, done.cases[0].page)
    assert page.evaluate("document.getElementById('pending').hidden")
    assert "corrected" in page.evaluate("document.querySelector('tr[data-event=ueso]').textContent")


def wait_for(folder):
    for _ in range(1200):
        found = list(folder.glob("corrections_*.json"))
        if found and found[0].stat().st_size:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("nothing was downloaded")


def test_inconsistent_events_cannot_be_exported(page):
    last = page.evaluate("MEASURES.swallows[0].events.uesc.frame_index")
    go(page, last)
    page.click("tr[data-event=ueso] [data-action='Set here']")
    assert "UESO must come before UESC" in page.evaluate("document.getElementById('pending').textContent")
    assert page.evaluate("document.getElementById('export').disabled")
    page.click("#discard")
    assert page.evaluate("document.getElementById('pending').hidden")


@pytest.mark.parametrize("width", [1280, 390])
def test_readable_at_this_width(browser, reported, width):
    show(browser, reported.cases[0].page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    smallest = browser.evaluate("""Math.min(...[...document.querySelectorAll('body *')]
        .filter((n) => n.getClientRects().length && [...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
        .map((n) => parseFloat(getComputedStyle(n).fontSize)))""")
    assert smallest >= 10
    canvas = browser.evaluate("document.getElementById('cine').clientWidth")
    assert canvas >= min(360, 0.4 * width)
    assert browser.problems == [] and [u for u in browser.requests if not u.startswith("file:")] == []


def test_markup_in_data_is_not_executed(browser, reported, tmp_path):
    keep = {"kind", "name", "value", "unit", "data"}

    def poison(item, key=""):
        if isinstance(item, dict):
            return {k: poison(v, k) for k, v in item.items()}
        if isinstance(item, list):
            return [poison(v, key) for v in item]
        return item + EVIL if isinstance(item, str) and key not in keep else item

    data, pictures = blocks_in(reported.cases[0].page)
    path = tmp_path / "evil.html"
    path.write_text(render_page(poison(data), pictures), encoding="utf-8")
    show(browser, path)
    assert browser.evaluate("document.title").startswith("Swallow report")
    assert browser.evaluate("document.querySelectorAll('body img, body script').length") == 3  # our own scripts
    assert "onerror" in browser.evaluate("document.body.innerText") and browser.problems == []


def test_rejected_cine(browser, reported, tmp_path):
    data, pictures = blocks_in(reported.cases[0].page)
    data["measures"]["verdict"] = {"kind": "other", "headline": "This does not look like a lateral swallow study",
                                   "text": "Because."}  # fmt: skip
    data["measures"]["swallows"] = []
    path = tmp_path / "other.html"
    path.write_text(render_page({**data, "structures": []}, pictures), encoding="utf-8")
    show(browser, path)
    text = browser.evaluate("document.body.innerText")
    assert "does not look like a lateral swallow study" in text and "Oral transit" not in text
    assert browser.evaluate("document.querySelectorAll('.plot, .values').length") == 0 and browser.problems == []


def test_prints_on_a4(page):
    pdf = page.pdf()
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pdf.startswith(b"%PDF") and 1 <= pages <= 6
    sizes = {(round(float(w)), round(float(h))) for w, h in re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)}
    assert sizes and all(abs(w - 595) < 2 and abs(h - 842) < 2 for w, h in sizes)
