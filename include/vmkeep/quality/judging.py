"""Makes judgements of the answers to a check's questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmkeep.quality.checkpoint import Answer
from vmkeep.quality.suite import SUITE
from vmkeep.quality.values import Expectation, Finding, Judgement, Row, Severity


def judge(answers: Iterable[Answer], skipped: Mapping[str, str]) -> tuple[Judgement, ...]:
    """Return the judgement of every expectation of the suite, in its order.

    :param skipped: the reasons why expectations were not looked at, by their ids.
    """
    by_id = {answer.expectation: answer for answer in answers}
    return tuple(_judgement(one, by_id.get(one.id), skipped.get(one.id, "")) for one in SUITE)


def _judgement(one: Expectation, answer: Answer | None, skipped: str) -> Judgement:
    rows = answer.rows if answer else ()
    return Judgement(
        id=one.id,
        title=one.title,
        meaning=one.meaning,
        remedy=one.remedy,
        found=answer.found if answer else 0,
        findings=tuple(_finding(one, row) for row in rows),
        skipped=skipped,
    )


def _finding(one: Expectation, row: Row) -> Finding:
    return Finding(
        severity=Severity(row["severity"]),
        vm=row["vm"],
        policy=row["policy"],
        point=row["ref"],
        disk=row["disk"],
        text=one.words(row),
    )
