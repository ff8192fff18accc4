"""Words, entropies and TF-IDF similarities of the reference's own functions."""

import json

import pytest

from revive.probes.text_metrics import TfIdf, entropy, fluency
from revive.probes.words import words
from shared import shared


@pytest.fixture(scope="module")
def golden():
    return json.loads(shared("goldens", "text_metrics", "text_metrics.json").read_text())


def test_words_are_the_references(golden):
    for row in golden["fluency"]:
        assert words(row["text"]) == row["tokens"]
    assert len(golden["fluency"]) == 6


def test_fluency_is_the_references(golden):
    for row in golden["fluency"]:
        tokens = words(row["text"])
        assert entropy(tokens, 2) == pytest.approx(row["H2"], abs=1e-12)
        assert entropy(tokens, 3) == pytest.approx(row["H3"], abs=1e-12)
        assert fluency(row["text"]) == pytest.approx(row["weighted"], abs=1e-12)
    mean = sum(fluency(row["text"]) for row in golden["fluency"]) / 6
    assert mean == pytest.approx(golden["fluency_mean"], abs=1e-12)


def test_consistency_is_the_references(golden):
    weights = TfIdf.fit(golden["tfidf_documents"])
    assert len(weights.idf) == golden["tfidf_vocab_size"]
    for word, value in golden["tfidf_idf_head"].items():
        assert weights.idf[word] == pytest.approx(value, abs=1e-12)
    for row in golden["consistency"]:
        found = weights.similarity(row["a"], row["b"])
        assert found == pytest.approx(row["value"], abs=1e-12)
    assert any(row["value"] > 0.5 for row in golden["consistency"])
