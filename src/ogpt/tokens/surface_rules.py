"""Word lists of the readable surface: what English joins, quotes and capitalizes.

Titles, abbreviations and contractions are those of spaCy's English rules, by which the 2018 order
finds words. The other lists were made from the training books, never from the validation books.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CLOSING = frozenset(".,;:!?)]}”»…%")
"""Signs without a space before them; also runs of them."""
OPENING = frozenset(["(", "[", "{", "“", "‘", "«", "``"])
"""Signs without a space after them."""
DASHES = frozenset("-–—―‐‑‒")
"""Hyphens and dashes, joined to both neighbours; also runs of them."""
CURRENCY = frozenset("$£€")
APOSTROPHES = frozenset("'’")
SENTENCE_ENDS = frozenset(".!?…")
INTERRUPTING = DASHES | frozenset(",!?")
"""Ends of a quotation after which its sentence may continue."""

CONTRACTIONS = frozenset(["n't", "'s", "'ll", "'re", "'ve", "'d", "'m"])
"""Words that are joined to the word before them."""
PAIRS = frozenset([("can", "not"), ("gon", "na"), ("got", "ta"), ("y'", "all"), ("c'm", "on")])
"""Pairs of words that spaCy makes of one."""
BARE_CONTRACTIONS = {
    "nt": _words("ai are ca could did do does had has have is must should was were wo would"),
    "m": frozenset(["i"]),
    "d": _words("he i it she they we you"),
    "ve": _words("could i might must should they we would you"),
    "ll": _words("it they you"),
    "s": _words("he it she that there what who"),
}
"""spaCy splits `dont` and `wed` too: by the second part, the first parts."""
TAILS = _words("s t ll re ve d m")
"""What follows the apostrophe of a contraction."""
HEADS = _words("d j l m o qu t y")
"""What precedes an apostrophe inside a word: o'clock, d'ye, l'art."""
IN_WORD = frozenset(
    [
        *[("ma", "am"), ("schoolma", "am"), ("mam", "zelle"), ("cap", "n"), ("gov", "nor")],
        *[("guv", "nor"), ("for", "ard"), ("reg", "lar"), ("p", "raps"), ("s", "pose")],
        *[("ne", "er"), ("e", "er"), ("e", "en"), ("b", "gosh"), ("sha", "n"), ("more", "n")],
        *[("better", "n"), ("fo", "c"), ("wi", "out"), ("gen", "leman"), ("seemin", "ly")],
    ]
)
"""Other pairs around an apostrophe inside a word."""
AFTER_CLIPPED_OF = _words(
    "a all course her his it life me mine my our that the their them these this those us you your"
)
"""What follows o' for `of`, so that it is not joined to the next word."""
ELISIONS = _words(
    "arf ave bout cause cept copter cos e ead eard ee elp em en frisco gainst im midst n neath "
    "nother nough nuff ome ouse ow pon scuse spect splain stead taint til till tis tisn twas twasn "
    "tween twere twill twixt twon twould twouldn ud um un usband"
)
"""Words whose beginning an apostrophe replaces: 'tis, 'em."""
CLIPPED = _words("an ha jus mo o ol th wi yo")
"""Words whose end an apostrophe replaces: an', th'. Words in -in are clipped too: goin'."""
NO_PLURALS = CONTRACTIONS | _words("as does has his is its s this thus us was yes begin in within")
"""Words in -s and -in that no apostrophe follows: a quotation opens after them."""

TITLES = _words("adm dr gen gov messrs mr mrs ms mt prof rep rev sen st")
"""Abbreviations before a name, which is capitalized."""
NO_OTHER_WORD = TITLES | _words(
    "ala apr ariz aug bros calif colo dec feb inc jan jr ky ltd md mich minn neb nev nov oct okla "
    "sept tenn"
)
"""Abbreviations that are one even where the full stop is a word of its own."""
ABBREVIATIONS = frozenset(f"{word}." for word in NO_OTHER_WORD) | _words(
    "ak. ark. conn. corp. del. fla. ga. ia. id. ill. ind. jul. jun. kan. kans. la. mar. mass. "
    "miss. mo. mont. nebr. ore. pa. sep. va. wash. wis."
)
"""spaCy's abbreviations that are capitalized."""
LOWER_DOTTED = frozenset(["a.m.", "p.m.", "e.g.", "i.e.", "v.s."])
DOTTED = LOWER_DOTTED | _words(
    "a.d. b.c. d.c. n.c. n.j. n.y. p.s. q.e.d. s.c. u.k. u.s. u.s.a. y.m.c.a."
)
"""Abbreviations that are joined where each sign is a word; other letters are initials of names."""

PRONOUNS = _words("he her his i it my she the they we you")
"""First words of `he said` and of `the man said`, after a quotation."""
SPEECH = _words(
    "added admitted agreed announced answered asked asks began begged bellowed called chuckled "
    "commanded commented complained concluded confessed continued cried cries declared demanded "
    "echoed ejaculated exclaimed explained faltered gasped grinned groaned growled grumbled "
    "inquired enquired insisted interposed interrupted laughed murmured muttered nodded objected "
    "observed ordered persisted pleaded protested pursued queried remarked repeated replied "
    "responded resumed retorted returned roared said says screamed shouted shrieked sighed smiled "
    "snapped sobbed stammered suggested thought urged whispered wondered yelled"
)
"""Verbs beside a quotation: after it, `he said` does not begin a sentence."""
