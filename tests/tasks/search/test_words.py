# ruff: noqa: RUF001
"""What words are, and what finds them: by Unicode's properties, and alike on servers of different locales."""

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from app.tasks.search import folding, words
from app.tasks.search.folding import Folding

# A text, what finds it, and what does not.
PAIRS = [
    # Latin
    ("¡Hola mundo!", "hola", "ola"), ("„Milch“ holen", "milch", "ilch"), ("milk—bread", "bread", "milkbread"),
    ("Don’t forget", "don't", "dont't"), ("Don't forget", "don’t", "dons"), ("l’homme", "homme", "lhomme"),
    ("O\u02bcBrien", "o'brien", "obrian"), ("Straße", "STRASSE", "strasze"), ("Ærø", "aero", "er"),
    ("Łódź", "lodz", "odz"), ("İstanbul", "istanbul", "stanbul"), ("ﬁnancial", "fin", "nancial"),
    ("e\u0301clair", "éclair", "clair"), ("co\u00adoperate", "cooperate", "operate"), ("Ｆｕｌｌ", "full", "ull"),
    ("foo_bar", "bar", "foobar"), ("naïve…", "naive", "aive"), ("x² + y²", "x2", "2x"), ("🛒milk🥛", "milk", "ilk"),
    ("«Guillemets»", "guillemets", "uillemets"), ("\ufeffbom", "bom", "om"), ("v1.5", '"v1 5"', '"5 v1"'),
    ("Tiếng Việt", "tieng viet", "ieng"), ("a\u200bb", "ab", "b"),
    # Greek
    ("Ὀδυσσεύς", "ΟΔΥΣΣΕΥΣ", "δυσσευς"), ("λόγος", "λογοσ", "ογος"),
    ("ΛΌΓΟΣ", "λόγος", "γος"), ("ᾳδης", "αδης", "δης"),
    # Cyrillic
    ("Ёжик", "ежик", "жик"), ("п’ять", "п'ять", "пʼята"),
    ("МОСКВА", "москва", "осква"), ("—молоко—", "молоко", "олоко"),
    # Hebrew
    ("שָׁלוֹם", "שלום", "לום"), ("שלום", "שָׁלוֹם", "ום"), ("בית־ספר", "ספר", "פר"),
    # Arabic
    ("كِتَابٌ", "كتاب", "تاب"), ("كـــتاب", "كتاب", "اب"), ("أحمد", "احمد", "حمد"), ("خبز، حليب", "حليب", "ليب"),
    ("می\u200cخواهم", "میخواهم", "خواهم"), ("٣ كتب", "3", "4"),
    # Devanagari, Bengali, Tamil
    ("हिन्दी में", "हिन्दी", "िन्दी"), ("क़लम", "क़लम", "लम"), ("दूध।रोटी", "रोटी", "ोटी"), ("२५", "25", "52"),
    ("বাংলা ভাষা", "ভাষা", "ষা"), ("தமிழ் மொழி", "தமிழ்", "மிழ்"),
    # Thai, Lao, Khmer, Burmese
    ("ซื้อนมและขนมปัง", "นม", "มน"), ("น้ำ", "น้ำ", "มา"), ("สวัสดีครับ", "ครับ", "บรค"), ("ซื้อนม", "น", "ก"),
    ("ສະບາຍດີ", "ບາຍ", "ຍາບ"), ("ភាសាខ្មែរ", "ខ្មែរ", "រែម"), ("မြန်မာစာ", "မာစာ", "စမ"),
    # Han
    ("知鱼之乐", "鱼", "乌"),
    ("知鱼之乐", "鱼之", "之鱼"),
    ("知鱼之乐", "知鱼之乐", "乐之"),
    ("买牛奶、面包", "面包", "奶面"),
    ("iPhone手机壳", "手机", "机手"), ("2024年計画", "計画", "画計"), ("\U00020bb7野家", "\U00020bb7", "吉"),
    # Kana
    ("牛乳とパンをかう", "パン", "ンパ"),
    ("ﾊﾟﾝをかう", "パン", "バン"),
    ("かき", "かき", "がき"),
    ("か\u3099き", "がき", "かき"),
    # Hangul
    ("우유와 빵", "우유", "유와"), ("\u1112\u1161\u11ab국", "한국", "국"), ("“빵”", "빵", "방"),
    # Armenian, Georgian, Ethiopic, Cherokee
    ("ՀԱՅԵՐԵՆ", "հայերեն", "այերեն"), ("ქართული", "ქართული", "ართული"),
    ("ሰላም፡ዓለም", "ዓለም", "ለም"), ("ꮳꮃꭹ", "ᏣᎳᎩ", "ᎳᎩ"),
]  # fmt: skip
OWNER = "ada"


def vector(title: str, description: str | None = None) -> str:
    """The words of a task, whole."""
    building = words.vector(OWNER, title, description)
    while True:
        try:
            next(building)
        except StopIteration as built:
            return built.value


@pytest.fixture(scope="module")
async def servers(postgres: Callable[[str], str], database_url: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """The database of the tests, and others whose locales call other characters letters."""
    here = await asyncpg.connect(postgres("postgres"))
    made, connections = [], [await asyncpg.connect(database_url)]
    for how in ("LOCALE 'C'", "LOCALE 'C.UTF-8'", "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"):
        if "builtin" in how and here.get_server_version().major < 17:
            continue
        made.append(f"tasks_test_{secrets.token_hex(6)}")
        await here.execute(f"CREATE DATABASE {made[-1]} TEMPLATE template0 ENCODING 'UTF8' {how}")
        connections.append(await asyncpg.connect(postgres(made[-1])))
    yield connections
    for connection in connections:
        await connection.close()
    for name in made:
        await here.execute(f"DROP DATABASE {name}")
    await here.close()


async def matches(servers: list[asyncpg.Connection], text: str, q: str) -> bool:
    """Whether a search finds a text, on which all servers have to agree."""
    wanted = words.query(OWNER, q)
    asked = "SELECT $1::text::tsvector @@ $2::text::tsquery"
    found = [await each.fetchval(asked, vector("x", text), wanted) for each in servers]
    assert len({*found}) == 1
    return bool(found[0])


def test_there_are_many_pairs() -> None:
    assert len(PAIRS) >= 60


@pytest.mark.parametrize(("text", "found", "other"), PAIRS)
async def test_a_word_is_found_on_all_servers_and_another_is_not(
    servers: list[asyncpg.Connection], text: str, found: str, other: str
) -> None:
    assert await matches(servers, text, found)
    assert not await matches(servers, text, other)


@pytest.mark.parametrize(
    ("q", "wanted"),
    [
        ("two milk", "({two} & {milk:*})"),
        ('"oat drink"', "({oat}<1>{drink})"),
        ("“oat drink”", "({oat}<1>{drink})"),
        ('"oat dri', "({oat}<1>{dri:*})"),
        ("milk or oat", "({milk} | {oat:*})"),
        ("milk or", "({milk} & {or:*})"),
        ("or milk", "({or} & {milk:*})"),
        ("milk or -", "({milk})"),
        ("-milk", "(!{milk:*})"),
        ('-"oat drink" a', "(!({oat}<1>{drink}) & {a:*})"),
        ("foo-bar", "({foo} & {bar:*})"),
        ("知", "({知})"),
        ("知鱼之", "({知鱼} & {鱼之})"),
        ('"知鱼 milk"', "({知鱼}<2>{milk})"),
        ("don't", "({don}<1>{t:*})"),
        ("-- ! 🎉", None),
    ],
)
async def test_a_query_means(servers: list[asyncpg.Connection], q: str, wanted: str | None) -> None:
    found = words.query(OWNER, q)
    if wanted is None:
        assert found is None
        return
    prefix = words.scope(OWNER)
    plain = wanted.replace("{", f"'{prefix}").replace(":*}", "':*").replace("}", "'")
    normal = "SELECT $1::text::tsquery::text"
    assert await servers[0].fetchval(normal, found) == await servers[0].fetchval(normal, plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["word " * 20_000, " ".join(f"{n:x}" for n in range(20_000)), "".join(map(chr, range(0x4E00, 0x4E00 + 20_000))) * 4,
     "x" * 900_000, "ﷺ" * 10_000, "\U00020000\U00020001" * 40_000, "".join(map(chr, range(0x20000, 0x20000 + 40_000)))],
    ids=range(7),
)  # fmt: skip
async def test_texts_of_any_kind_are_words_that_postgresql_takes(servers: list[asyncpg.Connection], text: str) -> None:
    assert await servers[0].fetchval("SELECT length($1::text::tsvector)", vector("title", text)) > 1
    assert await matches(servers, text, text[:4])


def test_words_of_a_title_weigh_more_and_are_next_to_none_of_the_description() -> None:
    prefix = words.scope(OWNER)
    assert vector("Buy milk", "milk") == f"'{prefix}' '{prefix}buy':1A '{prefix}milk':2A,4B"


def test_no_more_characters_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MAX_REMEMBERED_CHARACTERS", 2)
    small: Any = Folding(lambda _: " ")
    assert (small.fold("Ab-C"), len(small)) == ("ab c", 2)
