"""How often the right page of the sample course comes first, beside the tutorial's own way, in one run; and that the committed
report says so.

The bars of issue 6 are not reached; what was reached is held. Questions and content were written before anything was measured
(docs/decisions/0058). Both halves are printed.
"""

import json
import math
import re

import pytest
from bilin import ROOT, SAMPLES, run

QUESTIONS = SAMPLES / "course-questions.jsonl"
REPORTS = ROOT / "docs" / "evaluation"
TITLE = "The sample course: 40 questions"
ITEMS_MIN = 60
# The default, and the tutorial's way: one sentence per item, without its headings, dense alone, the same model.
DEFAULT, TUTORIAL = "course", "sentences"
# One question of forty: what a near tie may change on another CPU.
ONE_QUESTION = 1 / 40
REGENERATE = "regenerate it: see docs/evaluation/README.md"


def evaluate(folder):
    """The evaluation that is committed, as (JSON, HTML). `docs/evaluation/README.md` gives the same commands."""
    data, html = folder / "data", folder / "course.html"
    run("add", DEFAULT, "course", data=data, cwd=SAMPLES)
    run("add", TUTORIAL, "course", "--split", "sentence", "--headings=false", data=data, cwd=SAMPLES)
    asked = run("eval", DEFAULT, QUESTIONS, "--compare", f"collection={DEFAULT},{TUTORIAL}", "--compare",
                "mode=hybrid,dense,lexical", "--no-timings", "--json", "--report", html, "--title", TITLE, data=data)
    found = next(line for line in asked.json_lines() if line["type"] == "evaluation")
    return found, html.read_text("utf-8"), data


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("evaluation"))


def figures(found, collection, mode):
    """hit@1, hit@3 and MRR by group: `all`, `half=a`, `half=b`, `tag=paraphrase`..."""
    run = next(run for run in found["runs"]
               if run["setting"]["collection"] == collection and run["setting"]["mode"] == mode)
    groups = {"all": run["figures"]} | {group["name"]: group["figures"] for group in run["groups"]}
    return {name: {measure: group[measure]["value"] for measure in ("hit_at_1", "hit_at_3", "mrr")}
            for name, group in groups.items()}


def test_the_right_page_comes_first(evaluated):
    found, _, data = evaluated
    assert not found["nowhere"], "questions whose answer is nowhere in the course"
    for each in found["runs"]:
        setting = each["setting"]
        for name, values in figures(found, setting["collection"], setting["mode"]).items():
            print(f"{setting['collection']:>9} {setting['mode']:>7} {name:>14}",
                  " ".join(f"{measure} {value:.3f}" for measure, value in values.items()))
    first = found["runs"][0]
    assert first["items"] >= ITEMS_MIN
    # Asked for by no name, the mode is the default one: the first of the report.
    plain = run("eval", DEFAULT, QUESTIONS, "--no-timings", "--json", data=data).json_lines()
    plain = next(line for line in plain if line["type"] == "evaluation")["runs"][0]
    assert plain["figures"] == first["figures"]
    values = figures(found, DEFAULT, first["setting"]["mode"])["all"]
    # Issue 6 asks for 0.80, 0.95 and 0.87 (docs/decisions/0058 says why the built-in model does not reach them: a third of the
    # questions share no word with their answer). What was reached must not be lost, less one question for another CPU.
    for measure, reached in {"hit_at_1": 0.750, "hit_at_3": 0.825, "mrr": 0.802}.items():
        assert values[measure] >= reached - ONE_QUESTION, values


def test_the_default_gains_over_one_sentence_per_item_and_dense_alone(evaluated):
    found = evaluated[0]
    default = figures(found, DEFAULT, found["runs"][0]["setting"]["mode"])["all"]["hit_at_1"]
    tutorial = figures(found, TUTORIAL, "dense")["all"]["hit_at_1"]
    assert default - tutorial >= 0.10, (default, tutorial)


def ranks(found):
    return [[answer.get("rank") for answer in run["answers"]] for run in found["runs"]]


def test_the_committed_report_is_what_this_run_gives(evaluated):
    found, html, _ = evaluated
    committed = json.loads((REPORTS / "course.json").read_text("utf-8"))
    page = (REPORTS / "course.html").read_text("utf-8")
    if found == committed:
        assert html == page, REGENERATE
        return
    # Another CPU rounds differently, and near ties may change places: figures may differ by a question, nothing else may.
    assert found["questions"] == committed["questions"], REGENERATE
    for ours, theirs in zip(found["runs"], committed["runs"], strict=True):
        assert (ours["setting"], ours["items"], ours["model"]) == (theirs["setting"], theirs["items"], theirs["model"]), REGENERATE
        for measure, value in theirs["figures"].items():
            assert math.isclose(ours["figures"][measure]["value"], value["value"], abs_tol=ONE_QUESTION + 1e-6), (
                f"{ours['label']}, {measure}: {REGENERATE}")
    headings = re.compile(r"<h[123][^>]*>(.*?)</h[123]>", re.S)
    assert headings.findall(html) == headings.findall(page), REGENERATE
