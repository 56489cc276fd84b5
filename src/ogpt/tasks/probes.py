"""The two sets that the paper's zero-shot probes use beside CoLA, SST-2 and RACE (figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ogpt.errors import ConfigError, SourceNotFound
from ogpt.tasks.finding import files_below, match
from ogpt.tasks.published import check_rows
from ogpt.tasks.readers.pronouns import PronounCase, read_dpr, read_winograd


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSet:
    """A published set of sentences with a pronoun to resolve.

    Args:
        title: For tables.
        file: Its usual name.
        owner: Page of its owner.
        licence: Its terms, as its owner states them.
        rows: Published number of cases.
        read: Reads the file.
    """

    title: str
    file: str
    owner: str
    licence: str
    rows: int
    read: Callable[[Path], Iterator[PronounCase]]


PROBES: Mapping[str, ProbeSet] = {
    "dprd": ProbeSet(
        title="DPRD",
        file="test.c.txt",
        owner="https://www.hlt.utdallas.edu/~vince/data/emnlp12/",
        licence="not stated by its owner",
        rows=564,
        read=read_dpr,
    ),
    "winograd": ProbeSet(
        title="Winograd",
        file="WSCollection.xml",
        owner="https://cs.nyu.edu/faculty/davise/papers/WinogradSchemas/WS.html",
        licence="CC BY 4.0",
        rows=273,
        read=read_winograd,
    ),
}


def open_probe(name: str, folder: str | Path) -> tuple[PronounCase, ...]:
    """Read a set of pronouns to resolve, from its file anywhere below a folder.

    Raises:
        ConfigError: the name of no such set.
        SourceNotFound: the folder or the file is not there.
        DataError: a case is not of the form of the set.
        DamagedData: the file is not XML.
    """
    if name not in PROBES:
        raise ConfigError(
            f"the probe is {name!r}; allowed: {', '.join(PROBES)}", hint="pass one of them"
        )
    probe = PROBES[name]
    files = match(files_below(Path(folder)), (probe.file,))
    if not files:
        raise SourceNotFound(
            f"{probe.title} is not in {folder}: there is no {probe.file}",
            hint=f"get it from {probe.owner} (terms: {probe.licence})",
        )
    cases = tuple(probe.read(files[0]))
    check_rows(probe.title, "test", len(cases), probe.title, probe.rows)
    return cases
