"""Tests of the web page that need the mock server: its words in a question choose the answer (mock_server.py)."""
import mock_server
from page_test import answer, answered, ask, button, field, question, wait_until


def last_request(t):
    return t.mock.requests[-1][1]


def test_the_request_is_what_the_server_takes(t):
    page = t.open()
    ask(page, "Hello")
    body = last_request(t)
    assert body == {"messages": [{"role": "user", "content": "Hello"}], "stream": True,
                    "stream_options": {"include_usage": True, "include_progress": True}}, body
    ask(page, "And then?")
    assert [m["role"] for m in last_request(t)["messages"]] == ["user", "assistant", "user"]
    figures = page.locator(".figures summary").last.inner_text()
    assert "reused from GPU" in figures and "86.4 tokens/s" in figures and "seed 1234" in figures, figures


def test_text_of_a_model_never_becomes_html(t):
    page = t.open(expected=["TrustedHTML"])
    ask(page, "an image, please")
    page.wait_for_timeout(300)
    assert "<img" in answer(page) and "<script>" in answer(page)
    assert page.evaluate("window.harmed") is None
    assert page.locator(".md img, .md script, .md b, .md a[href^='javascript']").count() == 0
    link = page.locator("article.assistant .md a")
    assert link.inner_text() == "Image: picture" and "noopener" in link.get_attribute("rel")
    assert page.evaluate("""() => { try { document.body.innerHTML = "<i>x</i>"; return "made"; } catch { return "refused"; } }""") == "refused"


def test_markdown_becomes_nodes(t):
    page = t.open()
    ask(page, "markdown")
    shown = page.locator("article.assistant > .md")
    for what, times in {"h4": 1, "table": 1, "tbody tr": 2, "ol > li": 3, "ol ul > li": 2, "figure pre code": 1, "blockquote": 1, "strong": 1,
                        "em": 1, "a": 1}.items():
        assert shown.locator(what).count() == times, f"expected {times} {what}, found {shown.locator(what).count()}"
    assert shown.locator("code .k").first.inner_text() == "def"
    button(page, "Raw text").click()
    assert shown.locator("pre.raw").inner_text().startswith("## Why the state is small")
    button(page, "Raw text").click()
    assert shown.locator("table").count() == 1


MARKDOWN_CASES = [
    ("a *b **c** d* e", "<p>a <em>b <strong>c</strong> d</em> e</p>"),
    ("**a *b***", "<p><strong>a <em>b</em></strong></p>"),
    ("2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"),
    ("`a *b*` and ``c ` d``", "<p><code>a *b*</code> and <code>c ` d</code></p>"),
    ("~~gone~~ \\*kept\\* &lt;b>", "<p><del>gone</del> *kept* &lt;b&gt;</p>"),
    ("***both***", "<p><strong><em>both</em></strong></p>"),
    ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
    ("- a\n\n  more\n- [x] b", "<ul><li>a<p>more</p></li><li>☑ b</li></ul>"),
    ("3) a\n4) b", "<ol><li>a</li><li>b</li></ol>"),
    ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
    ("# T #\ntext\n***", "<h3>T</h3><p>text</p><hr>"),
    ("costs $5 and $6, $x_1 + y_2$", '<p>costs $5 and $6, <span>$x_1 + y_2$</span></p>'),
    ("see https://a.example/b_(c)). end", "<p>see <a>https://a.example/b_(c)</a>). end</p>"),
    ("[a [b]](https://c.example \"t\") [no](ftp://x)", "<p><a>a [b]</a> [no](ftp://x)</p>"),
    ("unclosed **bold and `code", "<p>unclosed **bold and `code</p>"),
    ("|a|b|\n|-|-|\n|1\\|2|3|4|", "<div><table><thead><tr><th>a</th><th>b</th></tr></thead>"
     "<tbody><tr><td>1|2</td><td>3</td></tr></tbody></table></div>"),
    ("```\na\n\n  b", "<figure><figcaption>text<button><svg><path></path></svg>Copy</button></figcaption><pre><code>a\n\n  b</code></pre></figure>"),
]


def test_markdown_cases(t):
    page = t.open()
    render = """(text) => {
      const node = showMarkdown(h("div"), text);
      for (const one of node.querySelectorAll("*")) for (const name of [...one.getAttributeNames()]) one.removeAttribute(name);
      return node.innerHTML;
    }"""
    for text, expected in MARKDOWN_CASES:
        found = page.evaluate(render, text)
        assert found == expected, f"{text!r}: expected {expected!r}, found {found!r}"
    # Text shown piece by piece ends as the nodes of the whole text; hostile texts end soon.
    assert page.evaluate("""(text) => {
      const node = h("div");
      for (let end = 0; end <= text.length; end += 7) showMarkdown(node, text.slice(0, end));
      showMarkdown(node, text);
      return node.isEqualNode(showMarkdown(h("div"), text));
    }""", mock_server.MARKDOWN)
    for text in ["[" * 9000, "*a " * 3000, ">" * 5000, "- " * 3000, "`" * 4000 + "``a`" * 1000, "_" + "*~~" * 3000, "|" * 9000 + "\n" + "|-" * 4000]:
        spent = page.evaluate("(text) => { const began = performance.now(); showMarkdown(h('div'), text); return performance.now() - began; }", text)
        assert spent < 5000, f"{text[:10]!r}: {spent} ms"


def test_thoughts_are_folded_with_their_time(t):
    page = t.open()
    ask(page, "think about it")
    summary = page.locator(".thought summary")
    assert summary.inner_text().startswith("Thought for "), summary.inner_text()
    assert not page.locator(".thought .md").is_visible()
    summary.click()
    page.locator(".thought .md", has_text="A short answer will do.").wait_for()
    ask(page, "more")
    assert last_request(t)["messages"][1]["reasoning_content"].startswith("The question is short.")


def test_tool_calls_are_json_and_get_results(t):
    page = t.open()
    ask(page, "call the tool")
    assert '"city": "Bern"' in page.locator(".tool-call pre").inner_text()
    page.get_by_label("Result of get_weather").fill("sunny, 21 degrees")
    button(page, "Send results").click()
    answered(page)
    messages = last_request(t)["messages"]
    assert messages[1]["content"] is None and messages[1]["tool_calls"][0]["id"] == "call_1"
    assert messages[2] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny, 21 degrees"}
    assert answer(page) == "You said: sunny, 21 degrees"


def test_a_long_prompt_shows_percent_and_time(t):
    page = t.open()
    ask(page, "long prompt", wait=False)
    page.locator(".state progress").wait_for()
    text = page.locator(".state").filter(has_text="left").inner_text()
    assert "Reading" in text and "%" in text and "of 20,000 tokens" in text, text
    answered(page)
    assert answer(page) == "You said: long prompt"


def test_speed_is_shown_while_it_streams(t):
    page = t.open()
    ask(page, "slow", wait=False)
    assert "1 running, 0 waiting" in page.locator("#pulse").inner_text(), "expected its own answer, found what the server told before"
    page.locator(".figures summary", has_text="tokens/s").wait_for()
    assert "≈" in page.locator(".figures summary").inner_text()
    page.locator("#list .live-dot").wait_for()
    page.locator("#create").click()
    ask(page, "meanwhile")
    assert answer(page) == "You said: meanwhile"
    page.locator("#list .pick", has_text="slow").click()
    button(page, "Stop").click()
    answered(page)


def test_details_come_into_view(t):
    page = t.open(height=640)
    ask(page, "markdown")
    page.locator(".figures summary").click()
    last = page.locator(".figures dd").last
    bottom = lambda node: node.evaluate("(node) => node.getBoundingClientRect().bottom")  # noqa: E731
    wait_until(lambda: bottom(last) <= bottom(page.locator("#scroll")), "the details' end is on the screen")


def test_sentences_are_read_out(t):
    page = t.open()
    ask(page, "slow", wait=False)
    spoken = page.locator("#spoken")
    page.locator("#spoken p", has_text="Sentence 2 of a slow answer.").wait_for(state="attached")
    assert spoken.get_attribute("aria-live") == "polite"
    page.keyboard.press("Escape")
    page.locator("#spoken p", has_text="Stopped").wait_for(state="attached")
    for text in spoken.locator("p").all_text_contents()[:-2]:
        assert text.endswith((".", "answer.")), text


def test_failures_are_said_and_can_be_tried_again(t):
    page = t.open(expected=["400", "429", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION", "ERR_EMPTY"])
    ask(page, "refuse")
    assert "temperature: expected 0 to 2, found 9" in page.locator(".state.failed").inner_text()
    button(page, "Try again").click()
    answered(page)
    assert page.locator("article.assistant").count() == 1 and page.locator(".count").count() == 0
    ask(page, "busy")
    assert "Try again in 7 s." in page.locator(".state.failed").last.inner_text()
    ask(page, "an error comes here, after the first words")
    assert "logits are not finite" in page.locator(".state.failed").last.inner_text()
    assert answer(page).startswith("You said: an")
    ask(page, "cut the line after a few words")
    assert "the connection was lost" in page.locator(".state").last.inner_text()
    assert answer(page).startswith("You said: cut")
    button(page, "Continue").click()
    answered(page)
    assert answer(page).endswith("And so it went on to its end.")


def test_a_lost_server_is_awaited(t):
    page = t.open(expected=["ERR_CONNECTION", "ERR_EMPTY", "ERR_SOCKET"])
    ask(page, "Before")
    t.mock.stop()
    try:
        page.evaluate("refresh()")
        page.get_by_text("The server does not answer.").wait_for()
        ask(page, "Meanwhile")
        assert button(page, "Try again").is_visible()
    finally:
        t.mock.start()
    page.locator("#banner").wait_for(state="hidden")
    button(page, "Try again").click()
    answered(page)
    assert answer(page) == "You said: Meanwhile"


def test_a_key_is_asked_for_and_kept_in_the_tab(t):
    t.mock.key = "secret"
    try:
        page = t.open(expected=["401"])
        button(page, "Enter key").click()
        page.get_by_label("Key", exact=True).fill("secret")
        button(page, "Use this key").click()
        page.locator("#pulse.up").wait_for()
        ask(page, "Hello")
        assert answer(page) == "You said: Hello"
        assert page.evaluate("JSON.stringify(localStorage)").find("secret") < 0
        assert page.evaluate("sessionStorage.getItem('hypenet.key')") == "secret"
    finally:
        t.mock.key = ""


def test_settings_are_checked_and_sent(t):
    page = t.open()
    settings = page.get_by_label("Settings", exact=True).first
    settings.click()
    assert page.get_by_label("Temperature").get_attribute("placeholder") == "0.6"
    page.get_by_label("System message").fill("Be brief.")
    page.get_by_label("Temperature").fill("9")
    assert "Expected 0 to 2" in page.locator("#set-temperature-wrong").inner_text()
    page.keyboard.press("Escape")
    before = len(t.mock.requests)
    ask(page, "Hello", wait=False)
    assert page.locator("#settings").is_visible() and len(t.mock.requests) == before
    page.get_by_label("Temperature").fill("0.25")
    page.get_by_label("Seed").fill("-7123456789012345678")
    page.get_by_label("Stop at").fill("END\n\nSTOP")
    page.get_by_label("Thinking").select_option("low")
    page.get_by_label("Form", exact=True).select_option("json_schema")
    page.get_by_label("JSON schema").fill('{"type": "object"}')
    page.keyboard.press("Escape")
    ask(page, "Hello again, json")
    body = last_request(t)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["seed"], body["stop"], body["reasoning_effort"]) == (0.25, -7123456789012345678, ["END", "STOP"], "low"), body
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert "seed -7123456789012345678" in page.locator(".figures summary").last.inner_text()
    page.locator(".figures summary").last.click()
    assert "temperature: 0.25" in page.locator(".figures dl").last.inner_text()
    page.reload()
    page.locator("article.assistant").first.wait_for()
    settings.click()
    assert page.get_by_label("Temperature").input_value() == "0.25"


def test_sessions_are_saved_and_restored(t):
    page = t.open()
    ask(page, "Remember this")
    page.locator("#more").click()
    page.get_by_role("menuitem", name="Save as a session").click()
    page.get_by_label("Name", exact=True).fill("notes")
    button(page, "Save").click()
    page.locator("#toast", has_text="saved as notes").wait_for()
    page.locator("#pulse").click()
    button(page, "Restore notes").click()
    page.locator("#toast", has_text="are ready in host memory").wait_for()
    assert "1.84 GB" in page.locator("#facts").inner_text()
    button(page, "Delete notes").click()
    page.get_by_text("None yet.").wait_for()


def test_conversations_are_found_renamed_deleted_and_put_back(t):
    page = t.open()
    ask(page, "About walruses")
    page.locator("#create").click()
    ask(page, "About penguins")
    page.get_by_label("Search conversations").fill("said: about walr")
    page.locator("#list mark").wait_for()
    assert page.locator("#list .pick").count() == 1
    page.locator("#list .pick").click()
    page.locator("article.user", has_text="About walruses").wait_for()
    page.get_by_label("Search conversations").fill("")
    page.locator("#list .pick").nth(1).wait_for()
    page.locator("#more").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Name of the conversation").fill("Tusks")
    button(page, "Rename").click()
    page.locator("#list .pick", has_text="Tusks").wait_for()
    page.locator("#more").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.locator("#list .pick", has_text="Tusks").wait_for(state="detached")
    button(page, "Undo").click()
    page.locator("#list .pick", has_text="Tusks").wait_for()
    page.locator("article.user", has_text="About walruses").wait_for()
    page.reload()
    page.locator("#list .pick", has_text="Tusks").wait_for()
    page.locator("#more").click()
    page.get_by_role("menuitem", name="Show the prompt").click()
    page.locator("#paper pre", has_text="About walruses").wait_for()


def test_long_conversations_show_their_end_first(t):
    page = t.open()
    ask(page, "The needle")
    page.evaluate("""async () => {
      let parent = openBranch(state.current).at(-1).id;
      for (let i = 0; i < 100; ++i) {
        const one = { ...newMessage(state.current, parent, i % 2 ? "assistant" : "user"), content: `message ${i}` };
        addMessage(state.current, one);
        await save(state.current, one);
        parent = one.id;
      }
    }""")
    page.reload()
    page.get_by_text("Show 42 earlier messages").wait_for()
    assert page.locator("article").count() == 60 and answer(page) == "message 99"
    page.get_by_label("Search conversations").fill("said: the need")
    page.locator("#list mark").wait_for()
    page.locator("#list .pick").click()
    page.locator("article", has_text="You said: The needle").wait_for()
    assert page.locator("article").count() == 102


def test_two_tabs_know_of_each_other(t):
    page = t.open()
    other = page.context.new_page()
    t.watch(other)
    other.goto(t.url)
    page.bring_to_front()
    ask(page, "slow", wait=False)
    other.bring_to_front()
    other.locator("#list .pick").click()
    other.get_by_text("Being answered in another tab.").wait_for()
    page.bring_to_front()
    button(page, "Stop").click()
    other.bring_to_front()
    other.get_by_text("Stopped.", exact=True).wait_for()
    assert answer(other) == answer(page)


def test_a_phone_sends_by_the_button_alone(t):
    page = t.open(width=390, height=844, has_touch=True, is_mobile=True)
    field(page).tap()
    page.keyboard.type("one")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    assert field(page).input_value() == "one\ntwo"
    button(page, "Send").tap()
    answered(page)
    button(page, "Conversations").tap()
    page.locator("#create").wait_for()
    assert page.evaluate("document.querySelector('main').inert")
    page.keyboard.press("Escape")
    wait_until(lambda: not page.evaluate("document.querySelector('main').inert"), "the list is closed")


def test_themes_directions_and_files(t):
    page = t.open(color_scheme="light", reduced_motion="reduce")
    ask(page, "hebrew")
    assert page.locator("article.assistant .md p").evaluate("(node) => getComputedStyle(node).direction") == "rtl"
    with page.expect_file_chooser() as chooser:
        button(page, "Add a text file").click()
    chooser.value.set_files({"name": "notes.md", "mimeType": "text/markdown", "buffer": b"# Notes\n```\ncode\n```\n"})
    wait_until(lambda: field(page).input_value(), "the file is in the message")
    assert field(page).input_value() == "notes.md\n````\n# Notes\n```\ncode\n```\n````\n"
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_label("Settings", exact=True).first.click()
    page.get_by_role("tab", name="This browser").click()
    page.get_by_label("Colours").select_option("dark")
    assert page.evaluate(ground) != before
    page.reload()
    page.locator("#pulse.up").wait_for()
    assert page.evaluate(ground) != before


def take_screenshots(t, folder):
    """The page as docs/serving-page.md shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height, scheme in [(1280, 860, "light"), (390, 844, "dark")]:
        phone = width < 500
        page = t.open(width=width, height=height, color_scheme=scheme, is_mobile=phone, has_touch=phone)
        for text in ["Which towns lie on the way?", "Draft a letter to the library"]:
            ask(page, text)
            page.evaluate("open(null)")
            page.locator(".empty").wait_for()
        ask(page, "Why is the memory of a linear layer so small? Think first, and use Markdown.")
        button(page, "Regenerate").click()
        answered(page)
        page.evaluate("document.activeElement.blur()")
        page.mouse.move(0, 0)
        page.locator("#scroll").evaluate("(node, phone) => { node.scrollTop = phone ? 0 : node.scrollHeight; }", phone)
        page.wait_for_timeout(400)
        page.screenshot(path=folder / f"page-{width}.png")
    t.close()
