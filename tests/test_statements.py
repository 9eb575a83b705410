"""SQL that is compiled once, and what is bound to it then."""

import pytest
from piccolo.columns import Integer, Text
from piccolo.querystring import QueryString
from piccolo.table import Table

from app.statements import Param, Statement

OWNER, TITLE = Param("owner"), Param("title")


class Note(Table, tablename="notes", db=None):
    owner = Text()
    title = Text()
    stars = Integer()


def test_a_query_of_piccolos_becomes_its_sql_and_keeps_the_values_that_it_knows() -> None:
    statement = Statement(Note.select(Note.id).where((Note.stars > 3) & (Note.owner == OWNER)).limit(5))

    assert statement.sql == (
        'SELECT ALL "notes"."id" AS "id" FROM "notes" WHERE ("notes"."stars" > $1 AND "notes"."owner" = $2) LIMIT 5'
    )
    assert statement.bind({"owner": "ada"}) == [3, "ada"]
    assert statement.bind({"owner": "bob"}) == [3, "bob"]


def test_an_insert_and_an_update_can_have_open_values_too() -> None:
    insert = Statement(Note.insert(Note(owner=OWNER, title=TITLE, stars=5)).returning(Note.id))
    update = Statement(Note.update({Note.title: TITLE}).where(Note.owner == OWNER).returning(Note.id))
    values = {"owner": "ada", "title": "Buy milk"}

    assert insert.sql == ('INSERT INTO "notes" ("id","owner","title","stars") VALUES (DEFAULT,$1,$2,$3) RETURNING "id"')
    assert insert.bind(values) == ["ada", "Buy milk", 5]
    assert update.bind(values) == ["Buy milk", "ada"]


def test_a_value_that_is_named_twice_is_sent_once() -> None:
    statement = Statement(QueryString("SELECT {}, {}, {}", OWNER, TITLE, OWNER))

    assert statement.sql == "SELECT $1, $2, $1"
    assert statement.bind({"owner": "ada", "title": None}) == ["ada", None]
    assert [statement.number_of(OWNER), statement.number_of(TITLE)] == [1, 2]


def test_values_that_only_look_alike_are_each_sent() -> None:
    statement = Statement(QueryString("SELECT {}, {}, {}, {}", 1, True, 1.0, OWNER))

    assert statement.sql == "SELECT $1, $2, $3, $4"
    assert [type(value) for value in statement.bind({"owner": "ada"})] == [int, bool, float, str]


def test_a_value_that_looks_like_sql_or_like_a_placeholder_stays_a_value() -> None:
    statement = Statement(QueryString("SELECT {}", TITLE))
    assert statement.bind({"title": "'; DROP TABLE notes; -- {} $1"}) == ["'; DROP TABLE notes; -- {} $1"]


def test_a_value_that_is_missing_is_an_error_and_one_too_many_is_not() -> None:
    statement = Statement(QueryString("SELECT {}", OWNER))

    assert statement.bind({"owner": "ada", "title": "Buy milk"}) == ["ada"]
    with pytest.raises(KeyError, match="owner"):
        statement.bind({})


def test_no_statement_keeps_the_values_of_an_earlier_call() -> None:
    statement = Statement(QueryString("SELECT {}, {}", OWNER, TITLE))
    first = statement.bind({"owner": "ada", "title": "hers"})
    second = statement.bind({"owner": "bob", "title": "his"})

    assert (first, second) == (["ada", "hers"], ["bob", "his"])
