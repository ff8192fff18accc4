"""Words as the Penn Treebank counts them: the tokens over which published fluency is taken.

Punctuation stands alone, clitics ("didn't": did n't) are words, straight double quotes become
`` and ''. The convention is that of the Treebank's tokenizer script; published numbers come from
NLTK's `word_tokenize`, which follows it. Sentences end at a full stop, question or exclamation mark
before white space; as in a Punkt splitter that was not trained, no abbreviation but an initial is
known. On 410,000 words of prose (Wikipedia, presidential addresses, the World Factbook) fewer than
ten differ from those of NLTK 3.10.4 with such a splitter.
"""

import re

_CLOSERS = "\"')\\]}>»”’"
_ENDED = re.compile(rf"(?<=[.?!])(?:[{_CLOSERS}]+(?:\s+|(?<!'))|\s+|(?=[(\[{{*:;@]))")
_LAST_WORD = re.compile(r"(\S*)$")
_INITIAL = re.compile(r"[^\W\d_]\.")
_NUMERAL = re.compile(r"[\d.,-]*\d[\d.,-]*\.")
_ALONE = ";@#$%&?!*()[]{}<>«»“”‘’„`–—"
_PIECE = re.compile(
    rf"\.{{2,}}|--|``|''|[{re.escape(_ALONE)}]|[,:](?!\d)"
    rf"|(?:(?!\.{{2,}}|--|''|[,:](?!\d))[^{re.escape(_ALONE)}])+"
)
_OPENING = re.compile(r"(^|[\s(\[{<])\"")
_FINAL_STOP = re.compile(rf"(?<!\.)\.([{_CLOSERS}]*)\s*$")
_CLITIC = re.compile(r"(?<=[^'])(n't|'ll|'re|'ve|'s|'m|'d|')$", re.IGNORECASE)
_QUOTED = re.compile(r"(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(\w.*)", re.IGNORECASE)
_MERGED = re.compile(
    r"(can)(not)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(wan)(na)|(d)('ye)|(more)('n)"
    r"|('t)(is)|('t)(was)",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in order."""
    return [word for sentence in sentences(text) for word in _tokens(sentence)]


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space around them."""
    found: list[str] = []
    begin = 0
    for match in _ENDED.finditer(text):
        if match.end() < len(text) and _ends(text[begin : match.start()], text[match.end()]):
            found.append(text[begin : match.end()].strip())
            begin = match.end()
    found.append(text[begin:].strip())
    return [sentence for sentence in found if sentence]


def _ends(before: str, following: str) -> bool:
    """Whether a sentence ends with `before`, which a stop ends, ahead of a character."""
    last = _LAST_WORD.search(before)
    word = last.group(1).lstrip("([{<\"'`«“‘„") if last else ""
    if word.endswith(".."):
        return False
    if _INITIAL.fullmatch(word):
        return not following.isalpha()
    return not (_NUMERAL.fullmatch(word) and following.islower())


def _tokens(sentence: str) -> list[str]:
    quoted = _OPENING.sub(r"\1 `` ", _FINAL_STOP.sub(r" .\1", sentence))
    return [
        token
        for chunk in quoted.replace('"', " '' ").split()
        for piece in _PIECE.findall(chunk)
        for token in _parts(piece)
    ]


def _parts(piece: str) -> list[str]:
    merged = _MERGED.fullmatch(piece)
    if merged is not None:
        return [part for part in merged.groups() if part]
    quoted = _QUOTED.fullmatch(piece)
    if quoted is not None:
        return [quoted.group(1), *_parts(quoted.group(2))]
    clitic = _CLITIC.search(piece)
    if clitic is None or piece == "''":
        return [piece]
    return [piece[: clitic.start()], clitic.group(1)]
