"""PYTHONPATH=. python -m pytest tests/shards/test_where.py"""

import duckdb
import pyarrow as pa
import pytest

from onegen.errors import ConfigError
from onegen.shards.where import _IMPURE, columns_in, evaluate

SCOPE = {
    "image": {"width": pa.int32(), "height": pa.int32(), "caption": pa.string(), "phash": pa.uint64()},
    "scores": {"sharpness": pa.float32(), "tags": pa.list_(pa.string())},
    "nsfw": {"nsfw": pa.float32()},
    "hed": {},
}


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("scores.sharpness > 10", {"scores"}),
        ("nsfw < 0.5", {"nsfw"}),
        ("nsfw.nsfw < 0.5", {"nsfw"}),
        ("image.width >= 256 AND least(image.width, image.height) > 10 OR nsfw IS NULL", {"image", "nsfw"}),
        ("NOT (image.caption LIKE '%cat%')", {"image"}),
        ("len(scores.tags) > 1", {"scores"}),
        ("CASE WHEN scores.sharpness > 1 THEN true ELSE nsfw < 1 END", {"scores", "nsfw"}),
        ("list_contains(scores.tags, 'a')", {"scores"}),
    ],
)
def test_columns_are_those_the_expression_names(expression, columns):
    assert columns_in(expression, SCOPE) == columns


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("scoers.sharpness > 1", "names the column 'scoers'; did you mean 'scores'"),
        ("scores.sharpnes > 1", "names 'scores.sharpnes'; did you mean 'sharpness'"),
        ("scores > 1", r"must name a field of 'scores', such as scores\.sharpness"),
        ("hed > 1", r"must name a field of 'hed'"),
        ("1 = 1", "must name a column"),
        ("", "must name a column"),
        ("avg(nsfw) > 0.5", "must say yes or no of each row"),
        ("unnest(scores.tags) = 'a'", "must say yes or no of each row"),
        ("width > 5", "names the column 'width'"),
        ("scores.sharpness >", "must be a duckdb boolean"),
        ("scores.sharpness; DROP TABLE t", "must be a duckdb boolean"),
        ("scores.tags + 1 > 2", "must be a duckdb boolean"),
        ("nosuchfunction(nsfw)", "must be a duckdb boolean"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(expression, said):
    with pytest.raises(ConfigError, match=said) as caught:
        columns_in(expression, SCOPE)
    assert repr(expression) in str(caught.value)


def outcome(expression: str, **values: list) -> list[bool]:
    return evaluate(expression, values, SCOPE)


def test_rows_keep_their_order_and_null_is_no():
    sharp = [{"sharpness": value} for value in (1.0, 20.0, None)]
    assert outcome("scores.sharpness > 10", scores=[*sharp, None, {"sharpness": 11.0}]) == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_many_rows_keep_their_order():
    rows = [{"width": (i * 7919) % 10_007, "height": 1} for i in range(10_007)]
    assert outcome("image.width % 3 = 0", image=rows) == [row["width"] % 3 == 0 for row in rows]


def test_a_column_named_like_its_field_is_the_field():
    assert outcome("nsfw < 0.5", nsfw=[{"nsfw": 0.25}, {"nsfw": 0.75}, None]) == [True, False, False]


def test_what_validation_accepts_evaluation_takes():
    # Both spellings name the same field; a recipe that passes the check must not fail in a worker.
    assert outcome("nsfw.nsfw < 0.5", nsfw=[{"nsfw": 0.25}, {"nsfw": 0.75}]) == [True, False]


def test_several_columns_are_joined_by_row():
    image = [{"width": 10}, {"width": 20}, None]
    scores = [{"sharpness": 15.0}, {"sharpness": 15.0}, {"sharpness": 15.0}]
    assert outcome("image.width > scores.sharpness", image=image, scores=scores) == [False, True, False]
    assert outcome("image.width > 15 OR scores.sharpness > 10", image=image, scores=scores) == [True, True, True]


def test_no_rows_have_no_outcome():
    assert outcome("nsfw < 1", nsfw=[]) == []


def test_an_unsigned_hash_is_compared_whole():
    rows = [{"phash": 2**64 - 1}, {"phash": 5}]
    assert outcome("image.phash > 9223372036854775808", image=rows) == [True, False]


@pytest.mark.parametrize(
    "expression",
    [
        "nsfw < (SELECT max(nsfw) FROM nsfw)",
        "EXISTS (SELECT 1 FROM nsfw) AND nsfw < 1",
        "rank() OVER (ORDER BY nsfw) < 3",
        "nsfw < avg(nsfw) OVER ()",
        "nsfw < main.random()",
        "nsfw < RANDOM()",
        "CASE WHEN nsfw < 1 THEN len([1, floor(random())]) > 1 ELSE false END",
    ],
)
def test_an_expression_that_looks_beyond_its_row_is_refused(expression: str) -> None:
    """The same row in another shard, or another run, would have another outcome."""
    with pytest.raises(ConfigError, match="its own row alone"):
        columns_in(expression, SCOPE)


UNLISTED_BY_DUCKDB = {"age", "ago", "current_localtime", "current_localtimestamp"}


@pytest.mark.parametrize("function", sorted(_IMPURE | UNLISTED_BY_DUCKDB))
def test_a_function_of_more_than_its_arguments_is_refused(function: str) -> None:
    for call in (f"{function}()", f"{function}(nsfw)"):
        with pytest.raises(ConfigError, match="its own row alone"):
            columns_in(f"nsfw < 1 OR {call} IS NULL", SCOPE)


@pytest.mark.parametrize(
    "name", ["current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "current_user", "user"]
)
def test_a_call_without_brackets_is_refused(name: str) -> None:
    """One release of duckdb parses it as a column, another as the function behind it."""
    with pytest.raises(ConfigError, match=f"its own row alone|names the column '{name}'"):
        columns_in(f"nsfw < 1 OR {name} IS NULL", SCOPE)


def test_a_column_may_be_called_like_a_refused_function() -> None:
    scope = {"age": {"age": pa.float32()}}
    assert columns_in("age > 18", scope) == {"age"}
    assert evaluate("age > 18", {"age": [{"age": 20.0}, {"age": 3.0}]}, scope) == [True, False]


def test_what_duckdb_itself_calls_unstable_is_refused() -> None:
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    unstable = {name for (name,) in duckdb.connect().execute(query).fetchall()}
    harmless = {"error", "stats", "vector_type", "write_log", "sleep_ms", "in_search_path"}
    about_the_connection = {name for name in unstable if name.startswith("current_")}
    assert unstable - _IMPURE - harmless - about_the_connection == set()


@pytest.mark.parametrize(
    ("expression", "captions", "outcomes"),
    [
        ("CAST(image.caption AS INTEGER) > 0", ["1", "odd", "-1", None, "2"], [True, False, False, False, True]),
        ("CAST(image.caption AS INTEGER) > 0", ["odd"], [False]),
        ("CAST(image.caption AS INTEGER) > 0", ["odd"] * 9 + ["3"], [False] * 9 + [True]),
        ("NOT CAST(image.caption AS BOOLEAN)", ["yes", "odd", "false"], [False, False, True]),
        ("CAST(image.caption AS INTEGER) > 0 IS NULL", ["1", "odd", None], [False, False, True]),
        ("regexp_matches('abc', image.caption)", ["b", "(", "d"], [True, False, False]),
        ("ln(CAST(image.caption AS DOUBLE)) > 1", ["9", "0", "1"], [True, False, False]),
        ("strptime(image.caption, '%Y') > DATE '2000-01-01'", ["2020", "no year", "1999"], [True, False, False]),
        ("CAST(image.caption AS TINYINT) > 0", ["100", "1000", "0"], [True, False, False]),
        ("json_extract_string(image.caption, '$.a') = '1'", ['{"a": 1}', "{", "{}"], [True, False, False]),
    ],
)
def test_an_error_over_a_row_is_no_for_that_row_alone(
    expression: str, captions: list[str | None], outcomes: list[bool]
) -> None:
    assert columns_in(expression, SCOPE) == {"image"}
    image = [{"caption": caption, "width": 1, "height": 1} for caption in captions]
    assert outcome(expression, image=image) == outcomes
    assert [outcome(expression, image=[row])[0] for row in image] == outcomes, "each row alone says the same"


def test_an_error_in_one_column_is_found_beside_others() -> None:
    image = [{"caption": text} for text in ("1", "odd", "3")]
    expression = "CAST(image.caption AS INTEGER) > 0 AND nsfw < 0.5"
    assert outcome(expression, image=image, nsfw=[{"nsfw": 0.1}, {"nsfw": 0.1}, {"nsfw": 0.9}]) == [True, False, False]


def test_an_error_over_every_row_is_an_error_of_the_expression() -> None:
    with pytest.raises(ConfigError, match="must be a duckdb boolean"):
        columns_in("CAST('odd' AS INTEGER) > image.width", SCOPE)
