"""HTML of results: text stays text, and a table is made for its words."""

from __future__ import annotations

from mm.core.display import Notes, Paragraph, Parts, Table, html


def test_what_a_log_says_is_text() -> None:
    nasty = "<script>'\"&"
    shown = html(
        nasty,
        Notes([nasty]),
        Paragraph(nasty, nasty, "#123456"),
        Table((nasty, nasty), [(nasty, (nasty, nasty))], nasty, nasty),
        Parts(nasty),
    )
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 12


def test_what_holds_nothing_is_left_out() -> None:
    assert html(None, "", Notes([]), Table(("a",), [])) == ""
    text = html(Table(("what", "cause", "n"), [("x", "", "1"), ("y", "", "2")]))
    assert "cause" not in text.split("<table")[1]
    assert text.count("<td") == 2


def test_columns_of_words_stand_to_the_left_with_their_heads() -> None:
    text = html(Table(("what", "how it went", "n"), [("a", "went very well", "1")]))
    assert '<th scope="col" class="to-left" style="text-align:left">how it went</th>' in text
    assert '<td class="to-left" style="text-align:left">went very well</td><td>1</td>' in text
    assert '<table class="few">' in text


def test_a_phone_stacks_several_columns_of_words() -> None:
    text = html(Table(("", "what", "cause"), [("warn", "some more words", "another few words")]))
    assert '<table class="stack">' in text
    assert '<td data-label="cause" class="to-left"' in text
    assert "<th" + ' scope="row"' in text
    assert "<th>" not in text
