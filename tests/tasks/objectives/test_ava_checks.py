"""Which test holds which promise about AVA: the closed-form checks, the golden vectors, the rest.

The numbers are those of the specification's list of checks; a test that is renamed fails here.
"""

from __future__ import annotations

from importlib import import_module

import pytest

TERMS, IRL = "objectives.test_ava_terms", "objectives.test_ava_irl"
LOSSES, GOLDEN = "objectives.test_ava", "objectives.test_ava_golden"
HEADS, MODEL = "models.tqr.test_heads", "models.tqr.test_group_tqr"
RANDOM, TRAINING = "evaluation.ava.test_random_labels", "training.updates.test_tqr"

HELD = {
    "1 divergence": [
        (TERMS, "test_the_divergence_by_hand"),
        (TERMS, "test_the_divergence_is_torchs"),
    ],
    "2 density": [(TERMS, "test_the_density_by_hand")],
    "3 AVA-d without IRL is cross-entropy": [
        (LOSSES, "test_without_irl_terms_ava_d_is_the_cross_entropy_of_the_response"),
        (MODEL, "test_the_likelihood_of_logit_is_supervised_fine_tuning"),
        (TRAINING, "test_without_irl_terms_imitation_is_sft"),
    ],
    "4 maps of Q": [
        (TERMS, "test_of_a_policys_log_probabilities_q_is_that_of_its_logits"),
        (TERMS, "test_as_printed_q_has_the_width_alpha"),
        (TERMS, "test_the_slope_of_q_as_printed"),
    ],
    "5 telescoping": [(IRL, "test_discounted_errors_telescope")],
    "6 untrained reward head": [
        (IRL, "test_an_untrained_reward_head_penalises_squared_errors"),
        (HEADS, "test_at_first_every_reward_is_the_prior"),
    ],
    "7 optimum and knife edge": [
        (IRL, "test_the_best_reward_for_an_error"),
        (IRL, "test_lambda_of_one_is_the_knife_edge"),
    ],
    "8 signs of the TD term": [
        (IRL, "test_an_error_above_its_reward_lowers_q_and_raises_the_next")
    ],
    "9 contrast": [
        (LOSSES, "test_the_contrast_by_hand"),
        (LOSSES, "test_swapping_the_pair_mirrors_the_contrast"),
        (MODEL, "test_the_contrast_teaches_neither_spread_nor_q"),
    ],
    "10 a response against itself": [
        (LOSSES, "test_a_response_against_itself_leaves_twice_the_irl_terms")
    ],
    "11 weights and padding": [
        (TERMS, "test_weights_sum_to_what_their_scale_says"),
        (TERMS, "test_equal_keys_weigh_alike"),
        (TERMS, "test_what_stands_outside_the_response_enters_nowhere"),
        (HEADS, "test_equal_keys_weigh_like_no_weights"),
        (GOLDEN, "test_padding_changes_no_term"),
    ],
    "12 constant weight": [(TERMS, "test_a_weight_costs_the_density_its_logarithm")],
    "13 causality": [(MODEL, "test_no_position_sees_what_comes_after_it_but_by_the_weights")],
    "14 prompt masking": [(LOSSES, "test_prompt_positions_teach_nothing")],
    "15 floor": [
        (LOSSES, "test_the_floor_stops_the_push_below_chance"),
        (LOSSES, "test_the_floor_bounds_the_loss"),
        (LOSSES, "test_with_the_floor_and_the_models_clamp_nothing_is_unbounded"),
    ],
    "16 random labels, identical texts": [
        (RANDOM, "test_labels_by_a_coin_are_right_in_half_of_the_pairs"),
        (RANDOM, "test_equal_texts_are_ties_and_a_tie_is_wrong"),
    ],
    "golden vectors": [
        (GOLDEN, "test_the_loops_give_the_golden_table"),
        (GOLDEN, "test_the_functions_give_the_golden_table"),
        ("objectives.test_response_scores", "test_the_golden_scores"),
    ],
    "causal and encoder-decoder alike": [
        (MODEL, "test_causal_and_encoder_decoder_give_the_same_losses_from_the_same_states")
    ],
    "shared and plain path alike, 1e-9": [
        (MODEL, "test_terms_are_those_of_each_response_alone"),
        (MODEL, "test_shared_and_plain_losses_and_gradients_agree"),
    ],
    "a padded row as alone, 1e-5": [
        (MODEL, "test_a_padded_response_is_that_of_the_response_alone_in_float32"),
        ("models.scoring.test_tqr_scorer", "test_batched_scores_are_those_of_each_response_alone"),
    ],
    "killed at every checkpoint": [
        (TRAINING, "test_it_resumes_at_every_checkpoint_to_the_same_bytes"),
        (TRAINING, "test_sharded_over_two_processes_it_resumes_to_the_same_bytes"),
    ],
}


@pytest.mark.parametrize("promise", HELD)
def test_each_promise_has_its_tests(promise: str) -> None:
    for module, name in HELD[promise]:
        found = import_module(f"tests.tasks.{module}")
        assert callable(getattr(found, name)), f"{module} has no {name}"


def test_every_check_is_in_the_table() -> None:
    numbered = [int(promise.split()[0]) for promise in HELD if promise[0].isdigit()]
    assert numbered == list(range(1, 17))
