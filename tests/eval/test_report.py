import json
import shutil

import pytest

from onegen.errors import ConfigError
from onegen.eval.cameras import CameraPose
from onegen.eval.nvs import NovelViews
from onegen.eval.page import figure
from onegen.eval.published import OURS, TABLES
from onegen.eval.records import RESULT, read_result, write_record
from onegen.eval.report import write_report
from onegen.eval.score import score


@pytest.fixture
def results(objects, true_views, true_cameras, tmp_path):
    score(NovelViews(data=objects), true_views, tmp_path / "nvs-1" / "truth", "truth")
    score(CameraPose(data=objects), true_cameras, tmp_path / "cameras" / "truth", "truth")
    return tmp_path


def tables(results):
    page, document = write_report(results)
    return page.read_text(), {table["title"]: table for table in json.loads(document.read_text())["tables"]}


def names(table):
    return [row["name"] for row in table["rows"]]


def test_stand_ins_do_not_stand_beside_the_papers_figures(results):
    _, shown = tables(results)
    assert "truth" not in names(shown["Table 2. Novel views: PSNR on Google Scanned Objects"])
    own = shown["nvs-1: apart from the paper's tables"]
    assert names(own) == ["psnr", "ssim"]
    assert own["rows"][0]["values"] == {"truth": 100.0}
    assert own["note"] == "truth: 2 objects, and GSO30 has 30."


def test_the_whole_benchmark_does(results):
    path = results / "nvs-1" / "truth" / RESULT
    write_record(path, read_result(path).model_copy(update={"lacks": ""}))
    page, shown = tables(results)
    row = shown["Table 2. Novel views: PSNR on Google Scanned Objects"]["rows"][-1]
    assert (row["name"], row["ours"], row["values"]["1"]) == ("truth", True, 100.0)
    assert "<td>100.00</td>" in page
    # what is not in the paper's table stays apart
    assert names(shown["nvs-1: apart from the paper's tables"]) == ["ssim"]


def test_items_left_out_keep_a_result_apart(results):
    path = results / "nvs-1" / "truth" / RESULT
    write_record(path, read_result(path).model_copy(update={"lacks": "", "left_out": 1}))
    _, shown = tables(results)
    assert "truth" not in names(shown["Table 2. Novel views: PSNR on Google Scanned Objects"])


def test_the_page_shows_items_and_what_figures_rest_on(results):
    page, _ = tables(results)
    assert page.count("<img") >= 8
    for text in ("digest ", "the paper does not say", "EscherNet&#x27;s are assumed", "worst", "best"):
        assert text in page
    for name in {part.partition("'")[0] for part in page.split("src='")[1:]}:
        assert (results / "report" / name).is_file()


def test_a_page_without_its_pictures_is_still_written(results, objects, tmp_path):
    path = results / "nvs-1" / "truth" / RESULT
    write_record(path, read_result(path).model_copy(update={"data": str(tmp_path / "gone"), "folder": "/gone"}))
    page, _ = tables(results)
    assert "nvs-1 of truth: worst" in page


def test_every_published_row_has_every_column():
    for table in TABLES:
        assert len(table.digits) == len(table.columns)
        assert OURS in table.rows
        for row in table.rows.values():
            assert len(row) == len(table.columns), table.title


def test_figures_have_the_digits_of_their_column():
    assert [figure(0.65, 2), figure(6.8, 1), figure(None, 1), figure(100.0, None)] == ["0.65", "6.8", "–", "100.00"]


def test_no_results_is_said(tmp_path):
    with pytest.raises(ConfigError, match="RESULTS must hold PROTOCOL/NAME/result.json"):
        write_report(tmp_path)


def test_a_damaged_result_is_named(results):
    (results / "nvs-1" / "truth" / RESULT).write_text("{}")
    with pytest.raises(ConfigError, match=r"truth/result.json must be a result"):
        write_report(results)
    shutil.rmtree(results / "nvs-1")
    write_report(results)
