"""The bundled model's training: tokenizer, targets, losses, and a run that is stopped and resumed."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from constrained_ner.annotation.lexicon import key_of
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import InputError, ModelError
from constrained_ner.schema import DDI
from constrained_ner.text.view import shown_sentence
from constrained_ner.training.batches import Decision, Example, bucketed, make_batch
from constrained_ner.training.bundled_model.bias_into_weights import add_bias
from constrained_ner.training.bundled_model.copying import Curriculum, random_copies
from constrained_ner.training.bundled_model.corpus import read_corpus
from constrained_ner.training.bundled_model.dropout import dropout
from constrained_ner.training.bundled_model.model import ModelSize, new_model
from constrained_ner.training.bundled_model.muon import orthogonal
from constrained_ner.training.bundled_model.names import build_lexicon
from constrained_ner.training.bundled_model.recipe import in_memory
from constrained_ner.training.bundled_model.sources import Copying, Mixture, Share, list_names
from constrained_ner.training.bundled_model.swapping import Swapper
from constrained_ner.training.bundled_model.tokenizer import (
    CHEMICAL,
    SEPARATOR,
    ModelTokenizer,
    train_tokenizer,
)
from constrained_ner.training.bundled_model.trainer import Stage, Trainer
from constrained_ner.training.losses import Weights, batch_losses, legal_scores
from constrained_ner.training.measure import find_mentions, score

TINY = ModelSize(n_hidden=32, n_layers=2, n_heads=2, n_feed_forward=64, n_context=256)
TEXTS = [
    "Effect of aspirin on beta-blockers in patients with heart failure.",
    "Patients on warfarin should avoid ibuprofen, naproxen and other NSAIDs (e.g. ketoprofen).",
    "Naïve cells – 50 µg/mL of cefotaxime – were unaffected by MPTP. ",
]


def sentence(text: str, *names: tuple[str, str]) -> Sentence:
    mentions = [
        Mention((Span(text.index(name), text.index(name) + len(name)),), kind, name) for name, kind in names
    ]
    return Sentence("s", text).with_mentions(mentions)


GOLD = [
    sentence(TEXTS[0], ("aspirin", "drug"), ("beta-blockers", "group")),
    sentence(TEXTS[1], ("warfarin", "drug"), ("ibuprofen", "drug"), ("NSAIDs", "group")),
    sentence(TEXTS[2], ("cefotaxime", "drug"), ("MPTP", "drug_n")),
]


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return train_tokenizer(TEXTS * 20, size=420)


def plain_ids(tokenizer: ModelTokenizer, text: str) -> list[int]:
    """Encode text as text with the tokenizer itself, not through our vocabulary."""
    tokenizer.tokenizer.encode_special_tokens = True
    return list(tokenizer.tokenizer.encode(text, add_special_tokens=False).ids)


class TestTokenizer:
    def test_text_is_never_control(self, tokenizer: ModelTokenizer) -> None:
        for text in ("<drug>aspirin</drug>", " <drug> <|end|><|sep|>", "\u0301 \n\n\t 😀"):
            ids = plain_ids(tokenizer, text)
            assert ids == tokenizer.vocabulary.encode(text)
            assert tokenizer.vocabulary.decode(ids) == text.encode()
            assert max(ids) < tokenizer.n_text_tokens

    def test_tags_have_two_openings(self, tokenizer: ModelTokenizer) -> None:
        tags = tokenizer.tags(DDI)
        assert tokenizer.vocabulary.token_bytes[tags.open_after_space[0]] == b" <drug>"
        assert tokenizer.vocabulary.token_bytes[tags.open_bare[3]] == b"<drug_n>"
        assert tokenizer.vocabulary.token_bytes[tags.close[2]] == b"</group>"

    def test_same_texts_same_tokenizer(self, tokenizer: ModelTokenizer) -> None:
        again = train_tokenizer(TEXTS * 20, size=420)
        assert again.tokenizer.to_str() == tokenizer.tokenizer.to_str()

    def test_what_is_not_a_tokenizer_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(ModelError, match="not a tokenizer"):
            ModelTokenizer.load(tmp_path / "tokenizer.json")


class TestTargets:
    @pytest.mark.parametrize("gold", GOLD)
    def test_prompt_then_tagged_copy_then_end(self, tokenizer: ModelTokenizer, gold: Sentence) -> None:
        writer = tokenizer.target_writer(DDI)
        example = writer.write(gold)
        gold = shown_sentence(gold)
        prompt, answer = example.ids[: example.n_prompt], example.ids[example.n_prompt :]
        assert list(prompt) == [*plain_ids(tokenizer, gold.text), tokenizer.control(SEPARATOR)]
        assert answer[-1] == tokenizer.end
        written = tokenizer.vocabulary.decode(answer[:-1]).decode()
        assert written == writer.markup.write(gold.text, gold.mentions)

    def test_every_decision_holds_the_token_taken(self, tokenizer: ModelTokenizer) -> None:
        example = tokenizer.target_writer(DDI).write(GOLD[1])
        assert all(d.legal[0] == example.ids[d.position] for d in example.decisions)
        assert all(len(set(d.legal)) == len(d.legal) > 1 for d in example.decisions)

    def test_space_goes_into_the_opening_tag(self, tokenizer: ModelTokenizer) -> None:
        example = tokenizer.target_writer(DDI).write(GOLD[0])
        tags = tokenizer.tags(DDI)
        at = example.ids.index(tags.open_after_space[0])
        before = tokenizer.vocabulary.decode(example.ids[example.n_prompt : at])
        assert before == b"Effect of"

    def test_what_tags_cannot_express_is_counted(self, tokenizer: ModelTokenizer) -> None:
        written = tokenizer.target_writer(DDI).write_all([sentence(TEXTS[0], ("spirin", "drug"))])
        (example,) = written.examples
        assert sum(written.refused.values()) == 1
        assert tokenizer.tags(DDI).open_bare[0] not in example.ids

    def test_the_other_schema_has_its_own_task_token(self, tokenizer: ModelTokenizer) -> None:
        writer = tokenizer.target_writer(CHEMICAL)
        example = writer.write(sentence(TEXTS[0], ("aspirin", "chemical")))
        assert example.ids[example.n_prompt - 1] == tokenizer.control("<|chemical|>")


class TestBatches:
    def test_places_predict_the_token_after_them(self) -> None:
        examples = [Example((5, 6, 9, 5, 6, 1), 3, (Decision(3, (5, 7)),)), Example((8, 9, 8, 1), 2)]
        batch = make_batch(examples, pad=0)
        assert batch.ids.shape == (2, 6)
        assert batch.next_ids[batch.prompt].tolist() == [6]
        assert batch.next_ids[batch.answer].tolist() == [5, 6, 1, 8, 1]
        assert batch.next_ids[batch.decisions].tolist() == batch.legal[:, 0].tolist() == [5]

    def test_buckets_lose_nothing(self) -> None:
        rng = np.random.default_rng(0)
        examples = [Example(tuple(range(1, n + 1)), 2) for n in rng.integers(4, 40, 100)]
        batches = list(bucketed(examples, 200, 0, rng))
        assert sum(len(b.ids) for b in batches) == 100
        assert all(b.ids.size <= 200 for b in batches)

    def test_unpredictable_tokens_are_not_predicted(self, tokenizer: ModelTokenizer) -> None:
        tags = tokenizer.tags(DDI)
        rng = np.random.default_rng(0)
        copies = random_copies(50, 20, n_text_tokens=256, separator=300, end=301, tags=tags, rng=rng)
        for example in copies:
            text = example.ids[: example.n_prompt - 1]
            start = example.n_prompt
            known = [t for i, t in enumerate(example.ids[start:], start) if i not in example.unpredicted]
            assert known[-1] == 301
            assert set(known[:-1]) <= set(text)


class TestLosses:
    def test_legal_set_loss_equals_renormalised_softmax(self, tokenizer: ModelTokenizer) -> None:
        torch.manual_seed(0)
        model = new_model(TINY, tokenizer)
        example = tokenizer.target_writer(DDI).write(GOLD[0])
        batch = make_batch([example], tokenizer.pad)
        loss = batch_losses(model, batch, Weights(share=1.0), np.random.default_rng(0)).decision
        logits = model(torch.tensor([example.ids])).logits[0]
        expected = [
            -torch.log_softmax(logits[d.position - 1, list(d.legal)], 0)[0] for d in example.decisions
        ]
        assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-5)

    def test_padding_changes_nothing(self, tokenizer: ModelTokenizer) -> None:
        torch.manual_seed(0)
        model = new_model(TINY, tokenizer).eval()
        examples = [tokenizer.target_writer(DDI).write(gold) for gold in GOLD]
        alone = make_batch(examples[:1], tokenizer.pad)
        together = make_batch(examples, tokenizer.pad)

        def scores(batch: object) -> torch.Tensor:
            hidden = model.model(torch.from_numpy(batch.ids)).last_hidden_state.flatten(0, 1)
            return legal_scores(hidden, model.lm_head.weight, batch)[: len(examples[0].decisions), :2]

        with torch.no_grad():
            assert torch.allclose(scores(alone), scores(together), atol=1e-5)

    def test_muon_updates_are_nearly_orthogonal(self) -> None:
        torch.manual_seed(0)
        values = torch.linalg.svdvals(orthogonal(torch.randn(3, 16, 48), n_steps=5))
        assert 0.5 < values.min() <= values.max() < 1.3

    def test_dropout_is_removed_again(self, tokenizer: ModelTokenizer) -> None:
        torch.manual_seed(0)
        model = new_model(TINY, tokenizer).train()
        ids = torch.arange(10)[None]
        before = model(ids).logits
        with dropout(model, 0.5):
            assert not torch.equal(model(ids).logits, before)
        assert torch.equal(model(ids).logits, before)


class TestNames:
    def test_the_lexicon_drops_names_that_gold_contradicts(self) -> None:
        listed = [("Heart", "brand"), ("Naproxen", "drug"), ("Avoid", "brand"), ("Aspirin", "brand")]
        lexicon = build_lexicon(listed, GOLD, {"avoid": 50}, common=20)
        assert key_of("avoid") not in lexicon.names
        assert key_of("heart") not in lexicon.names  # occurs in gold, but is never tagged
        assert lexicon.names[key_of("aspirin")] == "drug"  # gold decides the type
        found = lexicon.tag("Aspirin with MPTP and beta-blockers")
        assert [(m.text, m.type) for m in found] == [
            ("Aspirin", "drug"),
            ("MPTP", "drug_n"),
            ("beta-blockers", "group"),
        ]

    def test_swapped_names_have_the_right_offsets(self) -> None:
        swapper = Swapper(({"drug": ["Zidovudine"], "group": ["statins"]},), share_of_mentions=1.0)
        swapped = swapper.swap(GOLD[0], np.random.default_rng(0))
        assert swapped.text == "Effect of zidovudine on statins in patients with heart failure."
        assert all(swapped.text[m.start : m.end] == m.text for m in swapped.mentions)

    def test_curriculum_grows_when_learnt(self) -> None:
        assert Curriculum(9).after(0.7).length == 9
        assert Curriculum(9).after(0.5).length == 12
        assert Curriculum(150).after(0.1).length == 160

    def test_missing_data_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"train\.xml"):
            read_corpus(tmp_path)


def _stages(tokenizer: ModelTokenizer, n_tokens: int) -> list[Stage]:
    writer = tokenizer.target_writer(DDI)
    gold = Mixture([Share(1.0, lambda rng: writer.write(GOLD[int(rng.integers(len(GOLD)))]))])
    return [
        Stage("copying", Copying(tokenizer), n_tokens=2000, batch_tokens=200),
        Stage("gold", gold, n_tokens=n_tokens, batch_tokens=400, rate=1e-2, last=0.1, dropout=0.1),
    ]


def _trainer(tokenizer: ModelTokenizer, folder: Path, log: list[str], size: ModelSize = TINY) -> Trainer:
    torch.manual_seed(0)
    model = new_model(size, tokenizer)
    return Trainer(
        model, tokenizer.pad, seed=0, checkpoint=folder / "c.pt", checkpoint_every_s=0, log=log.append
    )


def _trained_in_two_stages(
    tokenizer: ModelTokenizer, folder: Path, *, compiled: bool, dropout: float
) -> torch.Tensor:
    folder.mkdir()
    trainer = _trainer(tokenizer, folder, [], replace(TINY, n_layers=1))  # a layer takes seconds to trace
    trainer.compiled = compiled
    first, second = _stages(tokenizer, 2000)
    trainer.run([first, replace(second, dropout=dropout)])
    found = find_mentions(in_memory(trainer.model, tokenizer, folder), GOLD, batch=4)
    assert [f.text for f in found] == [g.text for g in GOLD]  # compiled or not, it can be measured
    weights: torch.Tensor = trainer.model.model.layers[0].mlp.down_proj.weight
    return weights.detach()


def test_a_list_of_names_has_the_right_offsets() -> None:
    names = {"brand": ["Advil"], "drug": ["Aspirin", "AZT"], "group": ["Ace Inhibitors"]}
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        listed = list_names(names, rng)
        assert 2 <= len(listed.mentions) <= 8
        for m in listed.mentions:
            assert listed.text[m.start : m.end] == m.text
            assert m.text.lower() in {name.lower() for name in names[m.type]}
            seen.add(m.text)
    assert seen == {"Advil", "Aspirin", "aspirin", "AZT", "Ace Inhibitors", "ace Inhibitors"}


def test_a_sentence_that_cannot_be_written_is_passed_over_and_none_at_all_is_an_error() -> None:
    def unwritable(rng: np.random.Generator) -> Example:
        raise ValueError("no legal answer")

    written = Share(1.0, lambda rng: Example((1, 2, 3), 1))
    rng = np.random.default_rng(0)
    assert len(Mixture([Share(1.0, unwritable), written]).chunk(30, rng)) == 10
    with pytest.raises(InputError, match="most sentences to learn from cannot be written: no legal answer"):
        Mixture([Share(1.0, unwritable)]).chunk(30, rng)
    with pytest.raises(InputError, match="no names"):
        list_names({}, rng)


class _KilledError(Exception):
    pass


class TestLoop:
    def test_a_killed_run_ends_as_an_unbroken_one(self, tokenizer: ModelTokenizer, tmp_path: Path) -> None:
        for name in ("whole", "broken"):
            (tmp_path / name).mkdir()
        whole = _trainer(tokenizer, tmp_path / "whole", [])
        whole.run(_stages(tokenizer, 6000))

        broken = _trainer(tokenizer, tmp_path / "broken", [])

        def kill(line: str) -> None:
            if line.startswith("gold") and "chunk 2 " in line:
                raise _KilledError

        broken.log = kill
        with pytest.raises(_KilledError):
            broken.run(_stages(tokenizer, 6000))
        resumed = _trainer(tokenizer, tmp_path / "broken", [])
        resumed.run(_stages(tokenizer, 6000))
        for name, weights in whole.model.state_dict().items():
            assert torch.equal(weights, resumed.model.state_dict()[name]), name

    def test_a_checkpoint_of_another_size_is_refused(self, tokenizer: ModelTokenizer, tmp_path: Path) -> None:
        _trainer(tokenizer, tmp_path, []).save(stages := _stages(tokenizer, 2000))
        wider = _trainer(tokenizer, tmp_path, [], replace(TINY, n_feed_forward=96))
        with pytest.raises(ModelError, match=r"c\.pt: .* another size; resume with the options"):
            wider.run(stages)

    def test_feeders_change_no_weight(self, tokenizer: ModelTokenizer, tmp_path: Path) -> None:
        trained = []
        for n_feeders in (0, 2):
            (tmp_path / str(n_feeders)).mkdir()
            trainer = _trainer(tokenizer, tmp_path / str(n_feeders), [])
            trainer.n_feeders = n_feeders
            trainer.run(_stages(tokenizer, 16_000))
            trained.append(trainer.model.state_dict())
        for name, weights in trained[0].items():
            assert torch.equal(weights, trained[1][name]), name
        assert multiprocessing.active_children() == []

    def test_it_learns(self, tokenizer: ModelTokenizer, tmp_path: Path) -> None:
        log: list[str] = []
        trainer = _trainer(tokenizer, tmp_path, log)
        loaded = in_memory(trainer.model, tokenizer, tmp_path)
        before = score(GOLD, find_mentions(loaded, GOLD, batch=4)).micro.f1
        trainer.run(_stages(tokenizer, 60_000))
        found = find_mentions(loaded, GOLD, batch=4)
        assert score(GOLD, found).micro.f1 > max(before, 0.8)
        assert [f.text for f in found] == [g.text for g in GOLD]
        assert trainer.model.training

    def test_compiling_changes_neither_the_weights_nor_dropout_per_stage(
        self, tokenizer: ModelTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Traced as for a GPU, but run by PyTorch itself, so no compiler is needed."""
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
        plain, *others = [
            _trained_in_two_stages(tokenizer, tmp_path / name, compiled=compiled, dropout=dropout)
            for name, compiled, dropout in (
                ("plain", False, 0.5),
                ("compiled", True, 0.5),
                ("none", False, 0.0),
            )
        ]
        same, without_dropout = ((other - plain).abs().max().item() for other in others)
        assert same < 1e-4
        assert without_dropout > 1e-2

    def test_a_non_finite_loss_stops_the_run(self, tokenizer: ModelTokenizer, tmp_path: Path) -> None:
        trainer = _trainer(tokenizer, tmp_path, [])
        with torch.no_grad():
            trainer.model.model.norm.weight.fill_(float("nan"))
        with pytest.raises(ModelError, match="the loss is nan at step 0"):
            trainer.run(_stages(tokenizer, 2000))
        assert list(tmp_path.iterdir()) == []  # no such weights are kept


def test_bias_in_the_weights_only_affects_opening_tags(tokenizer: ModelTokenizer) -> None:
    torch.manual_seed(0)
    model = new_model(
        ModelSize(n_hidden=64, n_layers=2, n_heads=2, n_feed_forward=64, n_context=256), tokenizer
    )
    writer = tokenizer.target_writer(DDI)
    batch = make_batch([writer.write(s) for s in GOLD], tokenizer.pad)

    def scores() -> torch.Tensor:
        with torch.no_grad():
            hidden = model.model(input_ids=torch.from_numpy(batch.ids)).last_hidden_state.flatten(0, 1)
            return legal_scores(hidden, model.lm_head.weight, batch)

    before = scores()
    spread = add_bias(model, tokenizer, GOLD, {"drug_n": 0.5, "group": -0.25})
    assert 0 <= spread["group"] <= spread["drug_n"] < 0.3
    added = scores() - before
    tags = tokenizer.tags(DDI)
    for name, expected in (("drug", 0.0), ("drug_n", 0.5), ("group", -0.25)):
        index = DDI.type_names.index(name)
        forms = [tags.open_after_space[index], tags.open_bare[index]]
        at_tag = added[torch.from_numpy(np.isin(batch.legal, forms))]
        assert at_tag.mean().item() == pytest.approx(expected, abs=0.1), name
