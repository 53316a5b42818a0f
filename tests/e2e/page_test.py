#!/usr/bin/env python3
"""The web page in Debian's chromium, against tests/e2e/mock_server.py or, with --url, a server that runs.

    tests/e2e/page_test.py [--generated build-cpu/page.cpp] [--only WORD] [--screenshots DIR]
    tests/e2e/page_test.py --url http://127.0.0.1:8080/

Needs chromium and Playwright, which scripts/setup --tests installs. Without them it exits with 77, a skip; in CI it fails.
"""
import argparse
import json
import os
import shutil
import sys
import time
import traceback
from pathlib import Path
from urllib.parse import urlparse

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SKIPPED = 77
sys.path.insert(0, str(HERE))


def skip(why):
    print(f"page_test: skipped: {why}")
    sys.exit(1 if os.environ.get("CI") else SKIPPED)


def with_playwright(venv):
    """Goes on in the tests' own environment where this one has no Playwright."""
    try:
        import playwright.sync_api  # noqa: F401
        return
    except ImportError:
        pass
    python = venv / "bin/python"
    if not python.exists() or Path(sys.prefix).resolve() == venv.resolve():
        skip(f"no Playwright in {sys.executable} nor in {venv}; scripts/setup --tests gets it")
    os.execv(python, [str(python), *sys.argv])


class Tester:
    """A browser's page at the server, and what it must never do: log an error, ask another host, throw."""

    def __init__(self, browser, mock, url):
        self.browser, self.mock, self.url = browser, mock, url
        self.faults, self.contexts = [], []

    def open(self, expected=(), width=1280, height=800, path="", **more):
        """A new browser's memory with the page open; `expected` are words of console errors that belong to the test."""
        context = self.browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **more)
        context.set_default_timeout(10000)
        page = context.new_page()
        if not self.mock:
            page.route("**/v1/chat/completions", with_an_end)
        self.contexts.append(context)
        self.watch(page, expected)
        page.goto(self.url + path)
        page.locator("#pulse.up, #banner:not([hidden])").first.wait_for(state="attached")
        return page

    def watch(self, page, expected=()):
        host = urlparse(self.url).netloc

        def on_console(message):
            if message.type in ("error", "warning") and not any(word in message.text for word in expected):
                self.faults.append(f"console: {message.text}")

        def on_request(request):
            if request.url.startswith("http") and urlparse(request.url).netloc != host:
                self.faults.append(f"asked another host: {request.url}")
        page.on("console", on_console)
        page.on("request", on_request)
        page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))

    def close(self):
        """The faults of the pages that were open."""
        for context in self.contexts:
            context.close()
        faults, self.faults, self.contexts = self.faults, [], []
        return "\n".join(faults)


def with_an_end(route):
    """A real model may go on to its context's end: each answer has a bound, a high one where it is to be stopped."""
    body = route.request.post_data_json
    is_slow = "slow" in body["messages"][-1]["content"]
    route.continue_(post_data=json.dumps({**body, "max_tokens": 4000 if is_slow else 60}))


def field(page):
    return page.get_by_label("Message", exact=True)


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def ask(page, text, wait=True):
    field(page).fill(text)
    button(page, "Send").click()
    if wait:
        answered(page)


def answered(page):
    button(page, "Send").wait_for(timeout=60000)
    wait_until(lambda: page.evaluate("!state.runs.has(state.current?.id)"), "the answer is kept")


def answer(page, index=-1):
    """The text of an answer of the open branch, without its figures and buttons."""
    return page.locator("article.assistant").nth(index).locator(":scope > .md").inner_text()


def question(page, index=-1):
    return page.locator("article.user .bubble").nth(index).inner_text()


def wait_until(holds, what, seconds=10):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


# ---- What any server must pass

def test_a_question_is_answered(t):
    page = t.open()
    ask(page, "Hello there")
    assert question(page) == "Hello there"
    assert answer(page), "expected an answer, found none"
    figures = page.locator(".figures summary").inner_text()
    for word in ["to first token", "tokens", "prompt", "reused", "ended by", "seed"]:
        assert word in figures, f"expected {word!r} in {figures!r}"
    assert page.locator("#list .pick").first.inner_text() == "Hello there"
    assert page.title() == "Hello there · hypenet"
    assert page.locator("#gauge").get_attribute("aria-valuetext").endswith("tokens")


def test_an_answer_is_stopped(t):
    page = t.open()
    ask(page, "A slow one: count to ten thousand in words.", wait=False)
    page.locator("article.assistant .md p").first.wait_for()
    page.keyboard.press("Escape")
    answered(page)
    stopped = answer(page)
    assert stopped, "expected the beginning of an answer"
    if t.mock:
        assert "ended by stopped" in page.locator(".figures").inner_text()
        wait_until(lambda: t.mock.running == 0, "the server is rid of the stopped answer")
        button(page, "Continue").click()
        answered(page)
        assert answer(page) == (stopped + " And so it went on to its end.").replace("  ", " ")
        assert t.mock.requests[-1][1]["continue_final_message"] is True
        assert t.mock.requests[-1][1]["messages"][-1]["role"] == "assistant"


def test_an_edit_makes_a_branch(t):
    page = t.open()
    ask(page, "First wording")
    first = answer(page)
    page.locator("article.user").get_by_label("Edit").click()
    page.get_by_label("Edit the message").fill("Second wording")
    button(page, "Save and ask").click()
    answered(page)
    assert question(page) == "Second wording"
    assert page.locator("article.user .count").inner_text() == "2/2"
    page.get_by_label("Previous branch").click()
    assert (question(page), answer(page)) == ("First wording", first)
    page.keyboard.press("Alt+ArrowRight")
    assert question(page) == "Second wording"
    button(page, "Regenerate").click()
    answered(page)
    assert page.locator("article.assistant .count").inner_text() == "2/2"


def test_a_reload_loses_nothing(t):
    page = t.open()
    ask(page, "Kept one")
    button(page, "Regenerate").click()
    answered(page)
    field(page).fill("a draft that was not sent")
    before = answer(page)
    page.wait_for_timeout(400)
    page.reload()
    page.locator("article.assistant").wait_for()
    assert (question(page), answer(page)) == ("Kept one", before)
    assert page.locator("article.assistant .count").inner_text() == "2/2"
    assert field(page).input_value() == "a draft that was not sent"
    page.locator("#create").click()
    wait_until(lambda: field(page).input_value() == "", "a new conversation has no draft")
    page.go_back()
    page.locator("article.assistant").wait_for()


def exported(page):
    page.get_by_label("Settings", exact=True).first.click()
    page.get_by_role("tab", name="This browser").click()
    with page.expect_download() as download:
        button(page, "Export all").click()
    page.keyboard.press("Escape")
    return json.loads(Path(download.value.path()).read_text(encoding="utf-8"))


def import_text(page, text):
    page.get_by_label("Settings", exact=True).first.click()
    page.get_by_role("tab", name="This browser").click()
    page.evaluate("document.querySelector('#toast').replaceChildren()")
    with page.expect_file_chooser() as chooser:
        button(page, "Import").click()
    chooser.value.set_files({"name": "export.json", "mimeType": "application/json", "buffer": text.encode()})
    page.locator("#toast div").first.wait_for()
    page.keyboard.press("Escape")


def test_export_and_import_are_a_round_trip(t):
    page = t.open()
    ask(page, "Exported")
    button(page, "Regenerate").click()
    answered(page)
    page.locator("#create").click()
    ask(page, "Another with ünïcode ✓")
    whole = exported(page)
    assert sorted(len(one["messages"]) for one in whole["conversations"]) == [2, 3], "expected every branch"
    other = t.open()
    import_text(other, json.dumps(whole))
    again = exported(other)
    by_id = lambda found: sorted(found["conversations"], key=lambda one: one["id"])  # noqa: E731
    assert by_id(again) == by_id(whole)
    import_text(other, json.dumps(whole))
    assert len(exported(other)["conversations"]) == 4, "a file read twice is two conversations more"
    odd = json.loads(json.dumps(whole))
    odd["conversations"][0].update(settings={"tools": 5, "stop": ["x"]}, chosen=[1], title=None)
    odd["conversations"][0]["messages"][1].update(stats={"per_second": "fast", "tier": 3}, settings=[], tool_calls=7)
    import_text(other, json.dumps(odd))
    for i in range(other.locator("#list .pick").count()):
        other.locator("#list .pick").nth(i).click()
        other.locator("article.assistant .bar").last.wait_for()
    whole["conversations"][0]["messages"][0]["parent"] = "nobody"
    import_text(other, json.dumps(whole))
    assert "Nothing was imported" in other.locator("#toast").inner_text()
    assert len(exported(other)["conversations"]) == 6


def test_everyone_can_use_it(t):
    from page_checks import faults_of
    for scheme in ["light", "dark"]:
        page = t.open(color_scheme=scheme)
        told = {"empty": faults_of(page)}
        ask(page, "markdown, and think" if t.mock else "Hello")
        page.locator("article.assistant").hover()
        told["answer"] = faults_of(page)
        if t.mock:
            ask(page, "call the tool")
            ask(page, "refuse this")
            told["tool and error"] = faults_of(page)
            page.locator(".figures summary").first.click()
            page.locator(".thought summary").first.click()
            told["details"] = faults_of(page)
        page.locator("#more").click()
        told["menu"] = faults_of(page)
        page.keyboard.press("Escape")
        page.get_by_label("Settings", exact=True).first.click()
        for tab in ["Conversation", "Server", "This browser"]:
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(150)
            told[tab] = faults_of(page)
        page.keyboard.press("Escape")
        page.locator("article.user").first.get_by_label("Edit").click()
        told["editor"] = faults_of(page)
        assert not any(told.values()), f"{scheme}: {json.dumps(told, indent=1)}"
        t.faults = [fault for fault in t.faults if "400" not in fault]


def test_the_keyboard_is_enough(t):
    page = t.open()
    focused = lambda: page.evaluate("document.activeElement.id || document.activeElement.textContent")  # noqa: E731
    assert focused() == "message"
    page.keyboard.type("One line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and another")
    page.keyboard.press("Enter")
    answered(page)
    assert question(page) == "One line\nand another"
    page.keyboard.press("Control+k")
    assert focused() == "search"
    page.keyboard.type("another")
    page.locator("#list mark").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_until(lambda: page.evaluate("document.activeElement.closest('article') !== null"), "the found message has the focus")
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle + ' ' + document.activeElement.id")
        assert not outline.startswith("none") or "message" in outline, f"no visible focus: {outline}"
        if "message" in outline:
            break
    assert focused() == "message"
    page.keyboard.press("Control+Shift+o")
    page.locator(".empty").wait_for()
    page.locator("#skip").focus()
    assert page.locator("#skip").bounding_box()["x"] > 0, "the link that skips the list is not shown"
    page.keyboard.press("Enter")
    assert focused() == "message"


def test_narrow_screens_show_all(t):
    for width, height in [(320, 568), (390, 844), (3840, 2160)]:
        page = t.open(width=width, height=height)
        ask(page, "markdown" if t.mock else "Hello")
        ask(page, "A_very_long_word_" + 40 * "that_goes_on_")
        wide = page.evaluate("""() => [...document.querySelectorAll("body, main, #scroll, article, .md > :not(.table, .block), .bubble, .tools")]
            .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth).map((node) => node.className || node.id || node.nodeName)""")
        assert not wide, f"{width} px: wider than the screen: {wide}"
        box = button(page, "Send").bounding_box()
        assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height, f"{width} px: {box}"
        page.get_by_label("Settings", exact=True).first.click()
        wide = page.evaluate("(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.querySelector('#settings'))")
        assert wide[0] <= wide[1] <= width, f"{width} px: the settings are wider than their place: {wide}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", help="a server that runs; else the mock server")
    parser.add_argument("--generated", type=Path, default=ROOT / "build-cpu/page.cpp", help="written by cmake/EmbedPage.cmake")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv/tests")
    parser.add_argument("--only", default="", help="tests with this word in their name")
    parser.add_argument("--screenshots", type=Path, help="write pictures of the page into this folder")
    arguments = parser.parse_args()
    if not arguments.chromium:
        skip("no chromium; Debian's package chromium has it")
    with_playwright(arguments.venv)

    import mock_server
    import page_mock_tests
    from playwright.sync_api import sync_playwright
    mock = None
    if not arguments.url:
        text = (ROOT / "src/serve/page/index.html").read_text(encoding="utf-8")
        mock = mock_server.MockServer(text, mock_server.generated_policy(arguments.generated))
        mock.start()
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    if mock:
        tests.update({name: test for name, test in vars(page_mock_tests).items() if name.startswith("test_")})
    failed = []
    with sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=flags)
        tester = Tester(browser, mock, arguments.url or mock.url)
        if arguments.screenshots:
            page_mock_tests.take_screenshots(tester, arguments.screenshots)
            tests = {}
        for name, test in tests.items():
            if arguments.only not in name:
                continue
            try:
                test(tester)
                why = ""
            except Exception:
                why = traceback.format_exc()
            why += tester.close()
            failed += [name] if why else []
            print(f"FAILED {name}\n{why}" if why else f"passed {name}", flush=True)
        browser.close()
    print(f"{len(tests)} tests, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
