"""SQL that is compiled once, and what is bound to it then."""

import pytest

from app.db.statements import Statement


def test_a_parameter_has_one_number_however_often_it_is_named() -> None:
    statement = Statement("SELECT :owner, :title::text, :owner::text")

    assert statement.sql == "SELECT $1, $2::text, $1::text"
    assert statement.bind({"title": None, "owner": "ada"}) == ["ada", None]


def test_casts_and_formats_of_times_are_no_parameters() -> None:
    sql = """SELECT to_char(now(), 'HH24:MI:SS.MS'), "at"::text::timestamptz, now()::date"""
    assert Statement(sql).sql == sql
    assert Statement(sql).bind({"owner": "ada"}) == []


def test_a_value_that_looks_like_sql_or_like_a_placeholder_stays_a_value() -> None:
    statement = Statement("SELECT :title")
    assert statement.bind({"title": "'; DROP TABLE notes; -- {} $1"}) == ["'; DROP TABLE notes; -- {} $1"]


def test_a_value_that_is_missing_is_an_error_and_one_too_many_is_not() -> None:
    statement = Statement("SELECT :owner")

    assert statement.bind({"owner": "ada", "title": "Buy milk"}) == ["ada"]
    with pytest.raises(KeyError, match="owner"):
        statement.bind({})


def test_no_statement_keeps_the_values_of_an_earlier_call() -> None:
    statement = Statement("SELECT :owner, :title")
    first = statement.bind({"owner": "ada", "title": "hers"})
    second = statement.bind({"owner": "bob", "title": "his"})

    assert (first, second) == (["ada", "hers"], ["bob", "his"])
