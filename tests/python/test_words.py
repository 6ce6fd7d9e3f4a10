"""The words of docstrings, comments, help and errors: none of a list of words that a reader has to translate.

Each pattern stands for a kind of sentence that was once everywhere: a private word, or a clause in place of a noun. A phrase in
which the word is plain English is an exception, and is listed here with it.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

import pytest
from conftest import ROOT

#: Patterns, what to write instead, and phrases that contain the word and are plain.
WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    r"[Nn]umbers": (
        "values, elements, features, weights, class indices",
        (
            "[Rr]andom numbers",
            "whole numbers",
            "real numbers",
            "[Nn]umbers of",
            "painter-by-numbers",
            "Painter by Numbers",
        ),
    ),
    r"(?:comes|came)": ("follows, arrives, is read", ("comes first", "comes last", "comes from")),
    r"(?:tells|told)": ("reports, states, distinguishes", ()),
    r"as (?:they|it) (?:begin|begins|began)": ("initial", ()),
    r"truth": ("reference, targets", ()),
    r"[Pp]ictures?": ("image", ()),
    r"to the (?:last )?bit": ("bit-identical, bit-exactly", ()),
    r"(?:go|goes|went|going) on": ("continues, resumes", ()),
    r"cannot be[.,;:)]": ("the condition itself", ()),
    r"at hand": ("current", ()),
    r"so many": ("the name of the count", ()),
    r"mends?|mended": ("fix", ()),
    r"learnt": ("learned, fitted, trained", ()),
    r"from \S+ up": (">=, at least", ()),
    r"made for|is made of|are made of": ("created for, consists of", ()),
}


def python_text(source: str) -> Iterator[tuple[int, str]]:
    """Comments and strings of a Python file, line by line; the expressions within f-strings are code."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            text = re.sub(r"\{[^{}]*\}", "{}", token.string)
            yield from ((token.start[0] + i, line) for i, line in enumerate(text.split("\n")))


def rust_text(source: str) -> Iterator[tuple[int, str]]:
    """Comments and strings of a Rust file up to its tests, line by line."""
    source = source.partition("#[cfg(test)]")[0]
    for found in re.finditer(r'''//.*|'(?:\\.|[^'\\\n])'|"(?:[^"\\]|\\[\s\S])*"''', source):
        # A string continues on the next line after a backslash.
        text = re.sub(r"\\\n\s*", "", found.group())
        yield source.count("\n", 0, found.start()) + 1, re.sub(r"\{[^{}]*\}", "{}", text)


def lines() -> Iterator[tuple[str, str]]:
    """Each line of text with its place."""
    for folder, suffix, texts in (("python/sassl", ".py", python_text), ("src", ".rs", rust_text)):
        for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
            if path.stem != "tests":
                for at, text in texts(path.read_text()):
                    yield f"{path.relative_to(ROOT)}:{at}", text


TEXT = list(lines())


@pytest.mark.parametrize("word", WORDS)
def test_no_word_of_the_list(word):
    instead, plain = WORDS[word]
    pattern = re.compile(rf"(?<![\w`.\[]){word}(?![\w`\](])" if word[-1] != "]" else rf"\b{word}")
    found = []
    for place, text in TEXT:
        for phrase in plain:
            text = re.sub(phrase, "", text)
        # Code in comments is not text.
        text = re.sub(r"`[^`]*`", "", text)
        if pattern.search(text):
            found.append(f"{place}: {text.strip()}")
    assert not found, f"{len(found)} lines; write {instead}:\n" + "\n".join(found)


def test_the_list_finds_words():
    """The readers see comments, docstrings, strings and f-strings, and no code."""
    source = 'told = 1  # told\n"""told\n"""\nx = f"told {told}"\n'
    assert [at for at, text in python_text(source) if re.search(r"\btold\b", text)] == [1, 2, 4]
    source = 'let told = "told {told}"; // told\n#[cfg(test)]\n// told\n'
    assert [text for _, text in rust_text(source)] == ['"told {}"', "// told"]
