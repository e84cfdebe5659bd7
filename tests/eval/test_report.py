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
from onegen.eval.table import find_protocol


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
    for text in ("digest ", "the paper does not say", "EscherNet&#x27;s, drawn at 512", "worst", "best"):
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


def test_scores_of_every_item_are_in_both(results):
    page, document = (path.read_text() for path in write_report(results))
    read = {result["label"]: result for result in json.loads(document)["results"]}
    assert len(read["nvs-1"]["item_scores"]) == 30
    assert read["cameras"]["item_scores"][0]["item"] == "ball/000"
    assert "<summary>nvs-1 of truth: 30 items</summary>" in page
    assert page.count("<td>cube/012.png</td>") == 1


def test_what_is_infinite_is_null_in_the_json(objects, true_cameras, tmp_path):
    folder = shutil.copytree(true_cameras, tmp_path / "mine")
    (folder / "cube.json").write_text(json.dumps({"frames": [], "no_cameras": "parallel rays"}))
    score(CameraPose(data=objects), folder, tmp_path / "results" / "cameras" / "x", "x")
    _, document = write_report(tmp_path / "results")

    def refuse(word):
        raise AssertionError(word)

    (result,) = json.loads(document.read_text(), parse_constant=refuse)["results"]
    assert [row["error"] for row in result["item_scores"] if row["unit"] == "cube"] == [None] * 6


def test_what_the_paper_leaves_unsaid_is_said():
    """eval.md section 10, each with the table that it decides."""
    words = {
        "nvs": ("objects, views", "size"),
        "cameras": ("objects and renders", "doubled channels of rays"),
        "identity": ("which 50 portraits", "wrapped", "which CLIP"),
        "depth": ("aligned in depth or in disparity", "resolution"),
        "pie": ("the instruction or the prompt",),
        "dreambench": ("which photo", "its caption"),
    }
    for name, parts in words.items():
        said = "; ".join(find_protocol(name).unknown)
        for part in parts:
            assert part in said, (name, part)


def test_seeds_are_unsaid_in_every_table_of_the_paper(results):
    assert read_result(results / "cameras" / "truth" / RESULT).unknown[-1].startswith("seeds: ")


def test_caveats_that_results_share_stand_once(results):
    path = results / "nvs-1" / "truth" / RESULT
    write_record(results / "nvs-1" / "mine" / RESULT, read_result(path).model_copy(update={"name": "mine"}))
    _, shown = tables(results)
    assert shown["nvs-1: apart from the paper's tables"]["note"] == "mine, truth: 2 objects, and GSO30 has 30."


def test_published_figures_of_the_papers_own_model():
    got = {table.number: table.rows[OURS] for table in TABLES}
    assert got == {
        "1": (0.65, *[None] * 6),
        "2": (19.01, 19.83, 20.22, 20.64, 21.79),
        "3": (0.283, 26.80),
        "4": (6.8, 95.2, 29.4, 75.2),
        "5": (0.32,),
        "6": (27.49, 56.67, 25.84, 22.34),
        "7": (0.692, 0.814, 0.297),
    }


def test_a_heading_does_not_break_within_a_number(results):
    page, _ = tables(results)
    assert "centre accuracy at 0.3</th>" in page
