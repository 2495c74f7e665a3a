"""Questions about findings answered from files; ``pqaudit.elastic.search`` answers them from a server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from pqaudit.finding.answers import By, Groups, Summary
from pqaudit.finding.distinct import DistinctFindings
from pqaudit.finding.document import Document
from pqaudit.finding.query import Query
from pqaudit.finding.reading import Note

_Answer = TypeVar("_Answer", Summary, Groups)


class FileFindings:
    """Findings of files, of each SA the last one.

    Args:
        paths: files; ``-`` is standard input.
        note: takes what could not be read.
    """

    def __init__(self, paths: Sequence[str], note: Note) -> None:
        self._paths = paths
        self._note = note

    def summary(self, query: Query, most_rows: int) -> Summary:
        """Counts of the findings that match, and the latest of them."""
        return self._answered(query, lambda: Summary(most_rows))

    def groups(self, query: Query, by: By) -> Groups:
        """How many of the findings that match have each value."""
        return self._answered(query, lambda: Groups(by))

    def matching(self, query: Query) -> Generator[Document, None, None]:
        """All findings that match, in the order of the files."""
        with DistinctFindings(self._paths, self._note) as findings:
            for _ in findings.every():
                pass
            yield from filter(query.matches, findings.last())

    def _answered(self, query: Query, new: Callable[[], _Answer]) -> _Answer:
        with DistinctFindings(self._paths, self._note) as findings:
            answer = new()
            for finding in filter(query.matches, findings.every()):
                answer.add(finding)
            if findings.repeated:
                answer = new()
                for finding in filter(query.matches, findings.last()):
                    answer.add(finding)
            return answer
