"""The page in a real browser: it opens, works, stays in its folder, fits a phone and turns dark."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chrome = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (chrome and driver):
        pytest.skip("needs a browser: chromium and chromedriver")
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install gflow-core[dev])")
    options = selenium.ChromeOptions()
    options.binary_location = chrome
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield made
    made.quit()


@pytest.fixture
def show(browser, make, gflow):
    """Open the page of a run at a width, in the dark or not; returns the browser."""

    def open_page(path: Path | None = None, width: int = 1280, dark: bool = False):
        run = path or make()
        if not (run / "report.html").exists():
            gflow(run)
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get((run / "report.html").resolve().as_uri())
        return browser

    return open_page


def shown_step(browser) -> str:
    code = "const find = (what) => document.querySelector('#samples ' + what);"
    return str(
        browser.execute_script(code + "return find('.frame.current img').alt + ': ' + find('output').textContent")
    )


def test_it_opens_draws_and_asks_for_nothing(show):
    browser = show()
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.querySelectorAll('.plot .main-svg').length") > 0
    assert browser.execute_script("return document.querySelector('.plot .scatterlayer path.js-line') !== null")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [browser.current_url]


def test_the_slider_changes_the_picture_by_mouse_and_keyboard(show):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = show()
    slider = browser.find_element(By.CSS_SELECTOR, "#samples input[type=range]")
    assert shown_step(browser) == "samples, step 60: 60"
    slider.send_keys(Keys.ARROW_LEFT)
    assert shown_step(browser) == "samples, step 40: 40"
    slider.send_keys(Keys.HOME)
    assert shown_step(browser) == "samples, step 20: 20"
    assert slider.get_attribute("aria-valuetext") == "step 20"
    visible = "return [...document.querySelectorAll('#samples img')].map(i => i.checkVisibility())"
    assert browser.execute_script(visible) == [True, False, False]


@pytest.mark.parametrize("wide", [False, True])
def test_a_phone_need_not_scroll_sideways(show, make, hostile, wide):
    long = "a_score_with_a_very_long_name_that_does_not_break_" * 4
    run = make(title=hostile * 3, scores={hostile: 1.0, long: 2.0}, manifest={long: "f" * 200}) if wide else make()
    if wide:
        (run / "analysis" / "modes" / "modes.csv").write_text(
            ",".join(["column"] * 60) + "\n" + ",".join(["1"] * 60) + "\n"
        )
    browser = show(run, width=390)
    assert browser.get_log("browser") == []
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    width, room = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert room == 390
    assert width <= room


def luminance(browser, selector: str, what: str) -> float:
    code = f"return getComputedStyle(document.querySelector('{selector}')).{what}"
    numbers = [float(x) for x in browser.execute_script(code).split("(")[1].rstrip(")").split(",")[:3]]
    linear = [x / 255 / 12.92 if x <= 10 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in numbers]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_it_follows_the_system_into_the_dark_with_contrast(show, dark):
    browser = show(dark=dark)
    ground = luminance(browser, "section", "backgroundColor")
    assert (ground < 0.05) if dark else (ground > 0.9)
    for selector, what in (
        ("h2", "color"),
        (".quiet", "color"),
        ("nav a", "color"),
        (".state", "color"),
        (".xtick text", "fill"),
    ):
        ink = luminance(browser, selector, what)
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, selector


def test_paper_shows_what_is_folded_and_three_pictures(show):
    browser = show()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    visible = "return [...document.querySelectorAll('#samples img')].map(i => i.checkVisibility())"
    assert browser.execute_script(visible) == [True, True, True]
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    cells = "[...document.querySelectorAll('details td, details pre')]"
    folded = f"return {cells}.filter(one => !one.getClientRects().length).length"
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(folded) == 0


def test_it_reads_without_a_script(show, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show()
        from selenium.webdriver.common.by import By

        images = browser.find_elements(By.CSS_SELECTOR, "#samples img")
        assert [image.is_displayed() for image in images] == [False, False, True]
        assert not browser.find_element(By.CSS_SELECTOR, "#samples .controls").is_displayed()
        assert "slider" in browser.find_element(By.CSS_SELECTOR, "#samples noscript").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_comparison_fits_a_phone_too(show, make, gflow, tmp_path):
    runs = [make(f"ring-s{seed}-001", seed) for seed in (0, 1)] + [make("wide-s0-001", width=48)]
    gflow(*runs, "--out", tmp_path / "out")
    browser = show(tmp_path / "out", width=390, dark=True)
    assert browser.get_log("browser") == []
    widest = "Math.max(...[...document.querySelectorAll('main *')].map(one => one.getBoundingClientRect().right))"
    assert browser.execute_script(f"return {widest}") <= 390
    values = "[...document.querySelectorAll('#scores td > :last-child, #runs td')]"
    assert browser.execute_script(f"return {values}.every(one => one.checkVisibility() && one.innerText)")
    assert browser.execute_script(f"return {values}.length") == 4 * 2 + 3 * 5
    assert browser.execute_script("return document.querySelectorAll('.plot .scatterlayer .trace').length") > 2
