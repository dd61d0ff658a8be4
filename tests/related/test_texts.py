import datasets
import numpy as np
import pytest
from related.rows import text_rows

from mixunlearn_hf.related.find import find_related
from mixunlearn_hf.related.near_texts import normalized, text_pieces

COPIES = {
    "capitals": str.upper,
    "punctuation": lambda text: "«" + text.replace(" ", ", ") + "»!?",
    "spaces": lambda text: "\n " + text.replace(" ", " \t "),
    "wide_letters": lambda text: "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in text),
    "a_word_before": lambda text: "Update: " + text,
    "a_word_dropped": lambda text: " ".join(text.split()[:4] + text.split()[5:]),
    "a_typo": lambda text: text[:9] + "x" + text[10:],
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_is_near_its_row_and_other_sentences_are_not(sentences: list[str], kind: str) -> None:
    forget, others = sentences[:6], sentences[6:]
    retain = [*others[:5], *(COPIES[kind](text) for text in forget[::2])]
    related = find_related({"forget": text_rows(forget), "retain": text_rows(retain)}, progress=False)
    assert related.counts() == {"retain": {"exact": 0, "near": 3}}
    assert related.matches("retain", "near").positions.tolist() == [5, 6, 7]
    assert related.matches("retain", "near").forget_positions.tolist() == [0, 2, 4]


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.8, 1.0])
def test_near_agrees_with_the_jaccard_similarity_of_every_pair(sentences: list[str], threshold: float) -> None:
    words = [text.split() for text in sentences]
    mixed = [" ".join(first[: len(first) // 2] + second[len(second) // 2 :]) for first in words for second in words]
    forget, retain = sentences, [*mixed[::3], *(text.upper() for text in sentences)]
    related = find_related(
        {"forget": text_rows(forget), "retain": text_rows(retain)},
        methods="near",
        text_threshold=threshold,
        progress=False,
    )

    def pieces(text: str) -> set[str]:
        text = normalized(text)
        return {text[start : start + 5] for start in range(len(text) - 4)}

    expected, concerned = {}, set()
    for position, text in enumerate(retain):
        own = pieces(text)
        distances = [1 - len(own & pieces(other)) / len(own | pieces(other)) for other in forget]
        if min(distances) <= 1 - threshold + 1e-9:
            expected[position] = min(distances)
        concerned |= {row for row, distance in enumerate(distances) if distance <= 1 - threshold + 1e-9}
    matches = related.matches("retain", "near")
    assert matches.positions.tolist() == sorted(expected)
    np.testing.assert_allclose(matches.distances, [expected[row] for row in sorted(expected)], atol=1e-12)
    assert matches.forget_rows.tolist() == sorted(concerned)


def test_short_texts_are_compared_whole() -> None:
    splits = {"forget": text_rows(["no", "Ja!", "ok"]), "retain": text_rows(["NO.", "now", "ja", "o k", "k"])}
    related = find_related(splits, progress=False)
    assert related.positions("retain").tolist() == [0, 2]


def test_texts_without_content_are_left_out_and_never_the_same() -> None:
    forget = text_rows([None, "", "  ", "?!", "a blue gate"])
    related = find_related({"forget": forget, "retain": text_rows(["", None, "...", "A blue gate"])}, progress=False)
    assert related.positions("retain").tolist() == [3]
    assert related.forget_left_out == {"exact": 2, "near": 4}
    assert related.matches("retain", "near").left_out == 3


def test_all_forget_rows_that_read_the_same_are_concerned() -> None:
    forget = text_rows(["The tide was late.", "something else entirely", "the tide was late", "the tide was late"])
    related = find_related({"forget": forget, "retain": text_rows(["THE TIDE WAS LATE", "the tide was late"])})
    assert related.matches("retain", "near").forget_rows.tolist() == [0, 2, 3]
    assert related.matches("retain", "exact").forget_rows.tolist() == [2, 3]


def test_texts_without_spaces_between_words_have_pieces() -> None:
    first, second = "港の時計は嵐の夜も正しい時刻を示していた", "港の時計は嵐の夜も正しい時刻を示していたのだ"
    related = find_related({"forget": text_rows([first]), "retain": text_rows([second, "図書館は火曜日に休みます"])})
    assert related.positions("retain", "near").tolist() == [0]


def test_several_text_columns_are_read_as_one() -> None:
    rows = {"question": ["Who keeps the lighthouse?", "When does it rain?"], "answer": ["A tall man", "On Mondays"]}
    changed = {
        "question": ["WHO keeps the lighthouse", "When does it rain?"],
        "answer": ["a tall man", "Never at all"],
    }
    splits = {"forget": datasets.Dataset.from_dict(rows), "retain": datasets.Dataset.from_dict(changed)}
    related = find_related(splits, columns=["question", "answer"], text_threshold=0.8, progress=False)
    assert related.positions("retain").tolist() == [0]


def test_token_ids_are_compared_by_pairs() -> None:
    rng = np.random.default_rng(0)
    rows = [[1, *rng.integers(2, 500, size=20).tolist(), 2, 0, 0] for _ in range(12)]
    changed = [[*row[:5], 600, *row[6:]] for row in rows[:3]]
    splits = {
        "forget": datasets.Dataset.from_dict({"input_ids": rows[:6], "attention_mask": [[1] * 24] * 6}),
        "retain": datasets.Dataset.from_dict({"input_ids": [*rows[6:], *changed, rows[0], []]}),
    }
    related = find_related(splits, progress=False)
    assert related.counts() == {"retain": {"exact": 1, "near": 3}}
    assert related.positions("retain").tolist() == [6, 7, 8, 9]


def test_lone_surrogates_and_emoji_do_not_stop_a_search() -> None:
    assert text_pieces("🙂") is not None
    assert text_pieces("\ud800 broken") is not None
