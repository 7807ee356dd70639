"""Asks the questions of a check, by a checkpoint of Great Expectations.

The context is ephemeral, and everything in it is made anew for each check: a data source for the catalog's database, an
asset for each table that is asked, a suite of expectations for each asset, and one checkpoint for all of them. Nothing
leaves the machine but the connection to the database: no usage statistics, no cloud, no page of theirs, because those
load parts from other servers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vmkeep.catalog import Question
from vmkeep.errors import CatalogError
from vmkeep.extras import needs_extra
from vmkeep.lateclass import dataclass
from vmkeep.quality.suite import SUITE
from vmkeep.quality.values import Expectation, Row, Severity

MOST: Final = 200
"""Rows of an answer that Great Expectations hands out."""
_NAME: Final = "vmkeep_catalog"
_WEIGHT: Final = {Severity.FAILURE: "critical", Severity.WARNING: "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The rows of the catalog that should not be there."""

    expectation: str
    found: int
    """Number of all such rows."""
    rows: tuple[Row, ...]
    """The first of them, failures before warnings."""


def ask(url: str, questions: Sequence[Question]) -> tuple[Answer, ...]:
    """Ask all questions, and return the answers in the order of the suite.

    :param url: SQLAlchemy URL of the catalog's database, with its password.
    :raises MissingExtraError: Great Expectations is not installed.
    :raises CatalogError: the database cannot answer a question.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # before the import, which reads it
    with needs_extra("quality", "a check of data quality"):
        import great_expectations as gx  # takes seconds to import
        from great_expectations.exceptions.exceptions import GreatExpectationsError
    try:
        outcome = _outcome(gx, url, questions)
    except (GreatExpectationsError, ConnectionError) as error:
        raise CatalogError(f"the catalog cannot be checked: {' '.join(str(error).split())}") from error
    results = [result for run in outcome.run_results.values() for result in run.results]
    by_id = {result.expectation_config.meta["id"]: _answer(result) for result in results}
    return tuple(by_id[one.id] for one in SUITE if one.id in by_id)


def _outcome(gx: Any, url: str, questions: Sequence[Question]) -> Any:
    """Run a checkpoint of all questions, and close the connection to the database."""
    context = _context(gx)
    source = _data_source(context, url)
    try:
        definitions = [_definition(gx, context, source, batch, questions) for batch in _batches(questions)]
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(name=_NAME, validation_definitions=definitions, result_format={"result_format": "COMPLETE"})
        )
        return checkpoint.run()
    finally:
        source.get_execution_engine().close()


def _context(gx: Any) -> Any:
    """Return a context in memory, without usage statistics, bars of progress, and a site of pages.

    It does not look for settings of the user, which could send results to a server.
    """
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    settings = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    return gx.get_context(mode="ephemeral", project_config=settings)


def _data_source(context: Any, url: str) -> Any:
    """Return the data source for the database. It takes no blank in a URL, and replaces ``$NAME`` by a variable."""
    encoded = url.replace(" ", "%20").replace("$", "%24")
    if url.startswith("sqlite"):
        return context.data_sources.add_sqlite(_NAME, connection_string=encoded)
    with warnings.catch_warnings():  # it would rather have a kind of its own for PostgreSQL, which takes fewer URLs
        warnings.simplefilter("ignore")
        return context.data_sources.add_sql(_NAME, connection_string=encoded)


def _batches(questions: Sequence[Question]) -> list[str]:
    return list(dict.fromkeys(question.batch for question in questions))


def _definition(gx: Any, context: Any, source: Any, batch: str, questions: Sequence[Question]) -> Any:
    """Return the validation of one table by the expectations that are asked of it."""
    table = source.add_table_asset(name=batch, table_name=batch).add_batch_definition_whole_table(batch)
    of_suite = {one.id: one for one in SUITE}
    suite = context.suites.add(
        gx.ExpectationSuite(
            name=batch,
            expectations=[
                _expectation(gx, of_suite[each.expectation], each.query) for each in questions if each.batch == batch
            ],
        )
    )
    return context.validation_definitions.add(gx.ValidationDefinition(name=batch, data=table, suite=suite))


def _expectation(gx: Any, one: Expectation, query: str) -> Any:
    return gx.expectations.UnexpectedRowsExpectation(
        unexpected_rows_query=query,
        description=one.title,
        notes=f"{one.meaning} {one.remedy}",
        meta={"id": one.id},
        severity=_WEIGHT[one.severity],
    )


def _answer(result: Any) -> Answer:
    """Return the answer that a result holds.

    :raises CatalogError: there is none, because the database refused the question.
    """
    expectation = result.expectation_config.meta["id"]
    if "observed_value" not in (result.result or {}):
        why = " ".join(_reasons(result.exception_info)) or "no reason is known"
        raise CatalogError(f"the expectation {expectation} cannot be looked at: {' '.join(why.split())}")
    rows = (result.result.get("details") or {}).get("unexpected_rows") or ()
    return Answer(expectation=expectation, found=int(result.result["observed_value"]), rows=tuple(map(dict, rows)))


def _reasons(told: Any) -> Iterator[str]:
    """Yield the messages of exceptions; Great Expectations nests them by the metric that failed."""
    if isinstance(told, dict):
        if message := told.get("exception_message"):
            yield str(message)
        for inner in told.values():
            yield from _reasons(inner)
