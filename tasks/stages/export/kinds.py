"""What can leave the store, by kind: a new kind of model or of data is an entry here."""

from __future__ import annotations

from tasks.settings.errors import ConfigError
from tasks.stages.export.model_folder import ModelKind
from tasks.stages.key import stage_title
from tasks.stages.manifest import Manifest

_LOAD = """\
from transformers import $loader, AutoTokenizer

name = $name  # this folder, from the one above it, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(name)
model = $loader.from_pretrained(name)
"""
_ANSWER = (
    _LOAD
    + """
messages = [{"role": "user", "content": "Good morning! How do I bake bread?"}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
output = model.generate(**inputs, max_new_tokens=$tokens)[0]
start = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
print(tokenizer.decode(output[start:], skip_special_tokens=True))

# TRL takes the same name: DPOTrainer(model=name, ...), GRPOTrainer(model=name, ...)
"""
)
_SCORE = (
    _LOAD
    + """
messages = [
    {"role": "user", "content": "Good morning! How do I bake bread?"},
    {"role": "assistant", "content": "Mix flour and water, and wait."},
]
inputs = tokenizer.apply_chat_template(messages, return_dict=True, return_tensors="pt")
reward = model(**inputs).logits[0, 0].item()
print(reward)  # only differences between answers to one prompt mean anything

# TRL takes the same name: GRPOTrainer(reward_funcs=name, ...), RewardTrainer(model=name, ...)
"""
)

MODELS: dict[str, ModelKind] = {
    "policy": ModelKind(
        "a policy",
        "text-generation",
        "AutoModelForCausalLM",
        _ANSWER,
        encoder_loader="AutoModelForSeq2SeqLM",
        tags=("alignment",),
    ),
    "reward_model": ModelKind(
        "a reward model",
        "text-classification",
        "AutoModelForSequenceClassification",
        _SCORE,
        tags=("alignment", "reward-model"),
    ),
}
"""Models by what their stage `produces`."""

DATA = {
    "prepare_data": "prepared groups",
    "prepare_texts": "prepared texts",
    "extract_prompts": "prompts",
    "ask_people": "people's answers",
    "collect_gold": "gold responses",
    "pick_gold": "gold responses",
    "pair_with_gold": "gold against samples",
    "pair_demonstrations": "pairs of demonstrations and samples",
    "label_preferences": "labelled pairs",
    "import_groups": "groups of a user's file",
    "sample_responses": "samples",
    "score_responses": "scored samples",
    "pick_best_of_n": "the best of N samples",
}
"""Data by the stage that made it."""
SCORED_BY_MODELS = {"score_responses"}
"""Stages whose scores stay scores, of one or two responses too."""

ELSEWHERE = {
    "compute_reference_logps": "it holds log-probabilities for one training here",
    "diagnose_rewards": "it is a report, plain files already: `sparring show` says where",
    "estimate_density_ratios": "it holds numbers: `sparring show` and the report have them",
    "evaluate_policy": "it holds numbers: `sparring show` and the report have them",
    "evaluate_reward_model": "it holds numbers: `sparring show` and the report have them",
    "decide_promotion": "it is a decision: `sparring show` has its evidence",
    "examine_data": "it is what was found in your files: `sparring show` has it",
    "judge_by_people": "it is verdicts, plain files already: `sparring show` says where",
    "judge_responses": "it is verdicts, plain files already: `sparring show` says where",
    "train_classifier": "its classifier is no model that transformers loads",
    "write_ava_report": "it is a report, plain files already: `sparring report` says where",
    "write_apo_report": "it is a report, plain files already: `sparring report` says where",
    "write_judge_report": "it is a report, plain files already: `sparring report` says where",
    "write_exo_report": "it is a report, plain files already: `sparring report` says where",
}
"""Why the output of a stage is not exported, and what to do instead."""


def model_kind(manifest: Manifest) -> ModelKind | None:
    """Return what kind of model an output is; None for what is no model."""
    return MODELS.get(str(manifest.provenance.get("produces")))


def can_leave(manifest: Manifest) -> bool:
    """Say whether an output can be exported."""
    return model_kind(manifest) is not None or manifest.stage in DATA


def refusal(manifest: Manifest) -> ConfigError:
    """Return the error for an output that cannot be exported."""
    why = ELSEWHERE.get(manifest.stage, "this version does not know what its stage makes")
    title = stage_title(manifest.stage, manifest.label)
    return ConfigError(
        f"{title} ({manifest.key[:12]}) cannot be exported: {why}. Models can, and the data of "
        f"{', '.join(DATA)}"
    )
