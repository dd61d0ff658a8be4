import json
from typing import Any

import datasets
import numpy as np
import pytest
import tiny
from related.rows import image_rows, text_rows

from mixunlearn_hf.errors import ConfigError, DataError, SplitError
from mixunlearn_hf.related.find import find_related

CANARY = "CANARY walks along the pier every morning at half past six"


@pytest.fixture
def splits(sentences: list[str]) -> datasets.DatasetDict:
    forget, retain = [*sentences[:5], CANARY], [*sentences[5:], CANARY, CANARY.upper(), sentences[0]]
    test = [sentences[1] + "!", "an unrelated remark about weather and boats"]
    return datasets.DatasetDict(
        forget=text_rows(forget, [1] * len(forget)),
        retain=text_rows(retain),
        test=text_rows(test),
        holdout=text_rows([]),
    )


def test_every_split_is_searched_and_counted(splits: datasets.DatasetDict) -> None:
    related = find_related(splits, progress=False)
    assert related.counts() == {
        "retain": {"exact": 2, "near": 1},
        "test": {"exact": 0, "near": 1},
        "holdout": {"exact": 0, "near": 0},
    }
    last = len(splits["retain"]) - 1
    assert related.positions("retain").tolist() == [last - 2, last - 1, last]
    assert related.positions("retain", "exact").tolist() == [last - 2, last]
    assert related.positions("test").tolist() == [0]
    assert related.positions("holdout").tolist() == []
    assert related.rows == {name: len(part) for name, part in splits.items()}


def test_the_order_of_rows_and_their_labels_have_no_say(splits: datasets.DatasetDict) -> None:
    before = find_related(splits, progress=False).positions("retain")
    order = np.random.default_rng(0).permutation(len(splits["retain"]))
    relabelled = splits["retain"].map(lambda row: {"label": 7})
    shuffled = {"forget": splits["forget"].select(range(5, -1, -1)), "retain": relabelled.select(order)}
    after = find_related(shuffled, progress=False).positions("retain")
    assert sorted(order[after].tolist()) == before.tolist()


def test_rows_that_were_found_can_be_moved(splits: datasets.DatasetDict) -> None:
    related = find_related(splits, progress=False)
    moved = related.move_to_forget(splits)
    assert {name: len(part) for name, part in moved.items()} == {
        "forget": 9,
        "retain": len(splits["retain"]) - 3,
        "test": 2,
        "holdout": 0,
    }
    assert moved["forget"]["text"][6:] == [CANARY, CANARY.upper(), splits["forget"]["text"][0]]
    assert find_related(moved, progress=False).counts()["retain"] == {"exact": 0, "near": 0}
    assert len(related.move_to_forget(splits, methods="near")["forget"]) == 7


def test_nothing_found_moves_nothing(splits: datasets.DatasetDict) -> None:
    apart = datasets.DatasetDict(forget=splits["forget"], retain=splits["retain"].select(range(5)))
    assert len(find_related(apart, progress=False).move_to_forget(apart)["forget"]) == len(splits["forget"])


def test_splits_that_were_changed_since_are_refused(splits: datasets.DatasetDict) -> None:
    related = find_related(splits, progress=False)
    reordered = datasets.DatasetDict({**splits, "retain": splits["retain"].shuffle(seed=1)})
    with pytest.raises(SplitError, match="not the splits that were searched"):
        related.move_to_forget(reordered)
    relabelled = datasets.DatasetDict({**splits, "retain": splits["retain"].rename_column("label", "labels")})
    with pytest.raises(SplitError, match="not the splits that were searched"):
        related.move_to_forget(datasets.DatasetDict({**splits, "forget": splits["forget"].select([0])}))
    assert len(related.matches("retain", "near").positions) == 1 and len(relabelled) == 4


def test_what_is_shown_holds_counts_and_no_content(splits: datasets.DatasetDict) -> None:
    related = find_related(splits, progress=False)
    report = json.dumps(related.to_dict())
    for shown in (str(related), repr(related), report, repr(related.matches("retain", "near"))):
        assert "canary" not in shown.lower()
    assert json.loads(report)["found"]["retain"]["exact"] == {"rows": 2, "forget_rows": 2, "left_out": 0}
    assert "retain   exact      2  20            2   6         0" in str(related)
    assert "embedding was not searched: no `model` was passed" in str(related)


def test_methods_that_were_not_used_are_named(splits: datasets.DatasetDict) -> None:
    related = find_related(splits, methods="exact", progress=False)
    assert related.counts()["retain"] == {"exact": 2}
    with pytest.raises(ConfigError, match="'near' was not used: it was not asked for"):
        related.matches("retain", "near")
    with pytest.raises(ConfigError, match="'embedding' was not used: no `model`"):
        related.positions("retain", "embedding")
    with pytest.raises(ConfigError, match="'validation' was not searched"):
        related.positions("validation")


@pytest.mark.parametrize("name", ["vit", "bert", "resnet"])
def test_embeddings_find_rows_the_model_sees_alike(name: str) -> None:
    model, rows = tiny.build(name).train(), tiny.rows(name, 60, seed=3)
    changed = rows.select(range(5)).map(lambda row: {**row, "label": 3})
    if name != "bert":
        changed = changed.map(lambda row: {"pixel_values": (np.asarray(row["pixel_values"]) * 1.001).tolist()})
    retain = datasets.concatenate_datasets([rows.select(range(20, 60)), changed])
    splits = {"forget": rows.select(range(20)), "retain": retain}
    related = find_related(splits, methods="embedding", model=model, embedding_threshold=0.99999, progress=False)
    assert set(range(40, 45)) <= set(related.positions("retain").tolist())
    matches = related.matches("retain", "embedding")
    planted = matches.forget_positions[matches.positions >= 40]
    assert planted.tolist() == [0, 1, 2, 3, 4]
    assert (matches.distances < 1e-4).all() and (matches.distances >= 0).all()
    assert model.training


def test_embeddings_of_an_empty_split_are_none() -> None:
    model, rows = tiny.build("resnet"), tiny.rows("resnet", 8)
    splits = {"forget": rows.select(range(4)), "retain": rows.select([]), "test": rows.select(range(4, 8))}
    related = find_related(splits, model=model, progress=False)
    assert related.counts()["retain"] == {"exact": 0, "near": 0, "embedding": 0}


def test_padding_has_no_say_in_an_embedding() -> None:
    model, rows = tiny.build("bert"), tiny.rows("bert", 70, seed=3)
    splits = {"forget": rows, "retain": rows.select(range(69, -1, -1)).remove_columns(["attention_mask"])}
    related = find_related(splits, methods="embedding", model=model, embedding_threshold=0.999999, progress=False)
    assert related.counts() == {"retain": {"embedding": 70}}


def test_the_threshold_of_embeddings_comes_from_the_retain_set() -> None:
    model, rows = tiny.build("resnet"), tiny.rows("resnet", 400, seed=3)
    splits = {"forget": rows.select(range(100)), "retain": rows.select([*range(100, 400), 0, 1])}
    related = find_related(splits, model=model, progress=False)
    assert related.counts()["retain"]["exact"] == 2
    assert related.counts()["retain"]["embedding"] <= 5
    assert "cosine at least 0." in related.searched["embedding"]


def test_raw_text_is_embedded_with_its_tokenizer() -> None:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"the red gate opens at noon green boat sinks".split()]
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    forget = text_rows(["the red gate opens", None, "the green boat sinks"])
    retain = text_rows(["The RED gate opens", "", "noon"])
    related = find_related(
        {"forget": forget, "retain": retain},
        methods="embedding",
        model=tiny.build("bert"),
        processing_class=tokenizer,
        embedding_threshold=0.9999,
        progress=False,
    )
    assert related.positions("retain").tolist() == [0]
    assert related.forget_left_out == {"embedding": 1}


def error_cases() -> dict[str, tuple[type[Exception], str, Any, dict[str, Any]]]:
    text, two = text_rows(["a b c"]), datasets.Dataset.from_dict({"a": ["x"], "b": ["y"]})
    number = datasets.Dataset.from_dict({"n": [1]})
    pair = {"forget": text, "retain": text}
    return {
        "a data set": (SplitError, "Expected a `DatasetDict`", text, {}),
        "no forget": (SplitError, "Expected the split 'forget'", {"retain": text, "test": text}, {}),
        "no other": (SplitError, "at least one other", {"forget": text}, {}),
        "empty forget": (SplitError, "no rows", {"forget": text.select([]), "retain": text}, {}),
        "several texts": (DataError, r"\['a', 'b'\].*columns=\['a'\]", {"forget": two, "retain": two}, {}),
        "no content": (DataError, r"\['n'\]", {"forget": number, "retain": number}, {}),
        "no columns": (DataError, "`columns` is empty", pair, {"columns": []}),
        "unknown column": (DataError, "'forget' has no column 'body'", pair, {"columns": "body"}),
        "missing elsewhere": (DataError, "'retain' has no column 'text'", {"forget": text, "retain": two}, {}),
        "another kind": (
            DataError,
            "text in the split 'forget' and tokens in 'retain'",
            {"forget": text, "retain": datasets.Dataset.from_dict({"text": [[1, 2]]})},
            {},
        ),
        "unknown method": (ConfigError, "`methods` must name", pair, {"methods": "fuzzy"}),
        "no method": (ConfigError, "`methods` must name", pair, {"methods": []}),
        "no model": (ConfigError, "pass `model=`", pair, {"methods": ["embedding"]}),
        "bits": (ConfigError, "`image_threshold`", pair, {"image_threshold": 128}),
        "correlation": (ConfigError, "`image_correlation`", pair, {"image_correlation": 0}),
        "jaccard": (ConfigError, "`text_threshold`", pair, {"text_threshold": 0}),
        "cosine": (ConfigError, "`embedding_threshold`", pair, {"embedding_threshold": 1.5}),
    }


@pytest.mark.parametrize("case", error_cases())
def test_what_cannot_be_searched_is_refused(case: str) -> None:
    error, message, splits, settings = error_cases()[case]
    with pytest.raises(error, match=message) as caught:
        find_related(splits, progress=False, **settings)
    assert "a b c" not in str(caught.value)


def test_embeddings_of_broken_images_are_refused_by_position(digits: list, image_processor: Any = None) -> None:
    from transformers import ViTImageProcessorPil

    processor = ViTImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.5], image_std=[0.5])
    splits = {"forget": image_rows(digits[:3]), "retain": image_rows([digits[4], None, b"CANARY", digits[0]])}
    settings = {"methods": "embedding", "model": tiny.build("vit"), "processing_class": processor}
    with pytest.raises(DataError, match="Row 2 of the split 'retain'") as caught:
        find_related(splits, embedding_threshold=0.9999, progress=False, **settings)
    assert "CANARY" not in str(caught.value)
    splits["retain"] = splits["retain"].select([0, 1, 3])
    related = find_related(splits, embedding_threshold=0.9999, progress=False, **settings)
    assert related.positions("retain").tolist() == [2]
    assert related.matches("retain", "embedding").left_out == 1


def test_the_progress_bar_can_be_turned_off(splits: datasets.DatasetDict, capfd: pytest.CaptureFixture[str]) -> None:
    find_related(splits, methods="exact", progress=False)
    assert capfd.readouterr().err == ""
    find_related(splits, methods="exact")
    assert "exact: retain" in capfd.readouterr().err


def test_other_kinds_of_columns_are_searched_exactly_only() -> None:
    rows = datasets.Dataset.from_dict({"measured": [[0.5, 1.0], [2.0], [0.25, 4.0]]})
    splits = {"forget": rows.select([0, 1]), "retain": rows.select([2, 1])}
    related = find_related(splits, columns="measured", progress=False)
    assert related.counts() == {"retain": {"exact": 1}}
    assert "images, texts or token ids" in related.not_searched["near"]


def test_sounds_are_compared_by_their_bytes() -> None:
    import pyarrow as pa

    sounds = [{"bytes": bytes([number]) * 40, "path": None} for number in range(4)]
    rows = datasets.Dataset(pa.table({"audio": pa.array(sounds)})).cast_column("audio", datasets.Audio())
    related = find_related({"forget": rows.select([0, 1]), "retain": rows.select([2, 3, 1])}, progress=False)
    assert related.counts() == {"retain": {"exact": 1}} and "near" in related.not_searched


def test_a_waveform_is_what_a_row_is_without_being_named() -> None:
    def sounds(numbers: list[float]) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"sound": [[number, 0.5, -number] for number in numbers], "user": numbers})

    splits = datasets.DatasetDict(forget=sounds([0.1, 0.2]), retain=sounds([0.3, 0.2]))
    found = find_related(splits)
    assert found.positions("retain", "exact").tolist() == [1]
