"""Which case a text is shown in: a sentence in capitals, or without any, as it would usually be written.

    "KETOCONAZOLE RAISES AUC OF HALCION" -> "Ketoconazole raises AUC of Halcion"
    "patients on coumadin and maois"     -> "patients on Coumadin and MAOIs"

Models learn from text in ordinary case, and without it take no word for a name. The sentence alone decides: a
single word, or a row of abbreviations, stays as it is. Brands are spelt as in the list of public names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from ..formats.name_lines import PUBLIC_NAMES, read_names

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]\s)\W*$")
_FEW_SMALL = 0.1  # of the letters of a text in capitals: "100 mg", "pH", "mRNA"
_LONG = 4  # letters of a word that is no abbreviation
_NO_VOWEL = re.compile(r"[b-df-hj-np-tv-xz]{2,5}", re.IGNORECASE)

_ABBREVIATIONS = (
    "5-ASA 5-FU 5-HT 6-MP 6-TG ACE ACTH ADHD AIDS ALT ANC ARB AST ATP AUC AV AZT BCG BCNU BMI BUN CAD "
    "CCNU CHF Cmax CNS CoA COMT COPD COX CYP DDC DDI DEHP DHEA DHPG DMARD DNA DOPA DVT ECG ED EDTA EEG "
    "EGFR EKG ER FDA FSH G-CSF GABA GERD GI GM-CSF GnRH HAART HbA HBV HCG HCV HDL HIV HMG-CoA HPA HRT IC "
    "IgE IgG IL INH INR IUD IV KCl LDL LH LHRH LSD MAO MAOI MDMA MDR MI MIC MPTP MRI MRSA NaCl NADPH NMDA "
    "NNRTI NRTI NSAID OATP OC OTC PABA PCP PDE PGE pH PPI PTU PUVA QT QTc RBC RNA SGOT SGPT SNRI SSRI TCA "
    "Tmax TMP TNF TPN TSH TTP UGT UK URI USA USP UTI UV VEGF WBC"
)
_SPELT = {word.lower(): word for word in _ABBREVIATIONS.split()}
_ALSO_WORDS = {"aids", "ed", "er", "il", "ic"}  # which in small letters may be no abbreviations
_ROMAN = {"ii", "iii", "iv", "vi", "vii", "viii", "ix"}
_WITHOUT_VOWEL = (
    "bpm by cm cry dl dr dry dx fly ft gm hr hrs html http hx hz kg khz lb lbs ltd mcg mg mhz ml mm mmhg "
    "mmol mr mrs mth my nd ng nm nth pg pm pp ppb ppm prn pts px qd qhs rd rx shy sky st sx tbsp tds th "
    "try tsp tv tx vs why wk wks www yr yrs"
)
_NO_SYMBOLS = frozenset(_WITHOUT_VOWEL.split())


def cased(text: str) -> Iterator[tuple[int, int, str]]:
    """The letters to show in another case, each with its place."""
    if _is_in_capitals(text):
        spelt = _from_capitals
    elif _is_in_small_letters(text):
        spelt = _from_small_letters
    else:
        return
    for word in _WORD.finditer(text):
        shown = spelt(word[0])
        if spelt is _from_capitals and shown.islower() and _starts_sentence(text, word.start()):
            shown = shown[0].upper() + shown[1:]
        if len(shown) == len(word[0]):
            pairs = enumerate(zip(word[0], shown, strict=True), start=word.start())
            yield from ((at, at + 1, new) for at, (old, new) in pairs if old != new)


def _is_in_capitals(text: str) -> bool:
    n_large = sum(map(str.isupper, text))
    if not n_large or sum(map(str.islower, text)) > _FEW_SMALL * n_large:
        return False
    long_words = (m for m in _PART.finditer(text) if len(m[0]) >= _LONG and m[0].isupper())
    return sum(m[0].isalpha() and m[0].lower() not in _SPELT for m in long_words) > 1


def _is_in_small_letters(text: str) -> bool:
    if any(map(str.isupper, text)):
        return False
    return sum(len(m[0]) > 1 and m[0].islower() for m in _PART.finditer(text)) > 1


def _starts_sentence(text: str, at: int) -> bool:
    return _SENTENCE_START.search(text[max(0, at - 8) : at]) is not None and (
        at <= 8 or not text[at - 8 : at].isspace()
    )


def _from_capitals(word: str) -> str:
    known = _brands().get(word.lower()) or _abbreviation(word.lower())
    return known or _PART.sub(lambda part: _part_from_capitals(part[0]), word)


def _part_from_capitals(part: str) -> str:
    small = part.lower()
    known = _brands().get(small) or _abbreviation(small)
    if known:
        return known
    if small in _NO_SYMBOLS or small == "a":
        return small
    is_symbol = len(part) == 1 or not part.isalpha() or small in _ROMAN or _NO_VOWEL.fullmatch(part)
    return part if is_symbol else small


def _from_small_letters(word: str) -> str:
    known = _brands().get(word) or _abbreviation(word)
    return known or _PART.sub(lambda part: _part_from_small_letters(part[0]), word)


def _part_from_small_letters(part: str) -> str:
    known = _brands().get(part)
    if known or part in _ALSO_WORDS or part in _NO_SYMBOLS:
        return known or part
    return _abbreviation(part) or (part.upper() if _NO_VOWEL.fullmatch(part) else part)


def _abbreviation(small: str) -> str | None:
    """How an abbreviation is written, also in the plural. Example: "nsaids" -> "NSAIDs"."""
    singular = _SPELT.get(small[:-1]) if small.endswith("s") else None
    return _SPELT.get(small) or (singular and singular + "s")


@cache
def _brands() -> Mapping[str, str]:
    """Brands of one word, in small letters -> as they are spelt; none that begins the name of a substance."""
    names = read_names(PUBLIC_NAMES)
    substances = {word for name, kind in names if kind != "brand" for word in name.lower().split()}
    brands = (name for name, kind in names if kind == "brand" and _WORD.fullmatch(name))
    return {b.lower(): b for b in brands if len(b.lower()) == len(b) and b.lower() not in substances}
