"""Makes judgements of the answers to a check's questions."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from vmkeep.quality.checkpoint import Answer
from vmkeep.quality.suite import SUITE
from vmkeep.quality.values import Expectation, Finding, Judgement, Row, Severity


def judge(
    answers: Iterable[Answer], *, skipped: Mapping[str, str], gaps: Mapping[str, str], namesakes: Container[str]
) -> tuple[Judgement, ...]:
    """Return the judgement of every expectation of the suite, in its order.

    :param skipped: the reasons why expectations were not looked at, by their ids.
    :param gaps: the reasons why findings of expectations may be missing, by their ids.
    :param namesakes: names that several VMs have.
    """
    by_id = {answer.expectation: answer for answer in answers}
    return tuple(
        _judgement(one, by_id.get(one.id), skipped.get(one.id, ""), gaps.get(one.id, ""), namesakes) for one in SUITE
    )


def _judgement(one: Expectation, answer: Answer | None, skipped: str, gap: str, namesakes: Container[str]) -> Judgement:
    rows = answer.rows if answer else ()
    return Judgement(
        id=one.id,
        title=one.title,
        meaning=one.meaning,
        remedy=one.remedy,
        found=answer.found if answer else 0,
        findings=tuple(_finding(one, row, namesakes) for row in rows),
        skipped=skipped,
        gap=gap,
    )


def _finding(one: Expectation, row: Row, namesakes: Container[str]) -> Finding:
    return Finding(
        severity=Severity(row["severity"]),
        vm=row["vm"],
        policy=row["policy"],
        point=row["ref"],
        disk=row["disk"],
        text=one.words(row),
        vm_id=row["vm_id"] or (row["ref"] or "").partition("/")[0],
        is_namesake=row["vm"] in namesakes,
    )
