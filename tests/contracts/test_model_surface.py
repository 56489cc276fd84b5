"""Every public name and argument of transformers' models, configuration and outputs is ours.

Or it stands below with the reason why not.
"""

from __future__ import annotations

from typing import Any

import pytest

from ogpt.config.model import OpenAIGPTConfig
from ogpt.generation.choosing.arguments import _NEUTRAL
from ogpt.hub import HubOptions, push_folder
from ogpt.model import outputs
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import _NO_EFFECT, OpenAIGPTPreTrainedModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.contracts.surfaces import UPLOAD, Comparison, named
from tests.golden.model_surface import OUTPUTS, of_transformers

MODELS = [
    OpenAIGPTModel,
    OpenAIGPTLMHeadModel,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
]
GENERATING = [OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel]
OURS: dict[str, list[Any]] = {
    "PreTrainedModel": MODELS,
    "GenerationMixin": GENERATING,
    **{kind.__name__: [kind] for kind in MODELS},
    "OpenAIGPTConfig": [OpenAIGPTConfig],
    **{name: [getattr(outputs, name)] for name in OUTPUTS},
    "OpenAIGPTDoubleHeadsModelOutput": [outputs.OpenAIGPTDoubleHeadsModelOutput],
}

ADAPTERS = "use peft.get_peft_model, or the integration's classes"
AUTO = "the Auto classes are transformers' own"
CODE = "code of model repositories is never run"
DISTRIBUTED = "of models that are split over devices: a GPT-1 fits on one"
ENCODER = "of encoders"
EXPERTS = "of mixtures of experts"
HOOKS = "of memory measurements in transformers 4"
KERNELS = "of kernels from the Hub"
LAYERS = "of models whose layers differ"
LOADING = "a step of transformers' own loading"
MASKS = "a step of transformers' own forward"
MODALITIES = "of processors for images and sound"
ROPE = "of rotary positions"
SERVING = "continuous batching: ogpt's Stepper does it"
VALIDATE = "a step of transformers' own validation: check() validates all fields"
ABSENT = {
    "PreTrainedModel": {
        **dict.fromkeys(
            [
                *("active_adapters", "add_adapter", "delete_adapter", "disable_adapters"),
                *("enable_adapters", "enable_peft_hotswap", "get_adapter_state_dict"),
                *("load_adapter", "set_adapter"),
            ],
            ADAPTERS,
        ),
        **dict.fromkeys(["add_memory_hooks", "reset_memory_hooks_state"], HOOKS),
        **dict.fromkeys(
            [
                *("barrier_after_gathered_checkpoint_save", "ep_plan", "fsdp_plan", "fsdp_size"),
                *("gather_sharded_state_dict_for_save", "init_parallel_plans", "pp_plan"),
                *("is_distributed_loading_by_transformers", "maybe_distribute_model"),
                *("prepare_distribute_model", "save_distributed_checkpoint", "tp_plan", "tp_size"),
                *("should_save_on_this_rank", "supports_context_parallel", "supports_pp_plan"),
                "supports_tp_plan",
            ],
            DISTRIBUTED,
        ),
        **dict.fromkeys(
            ["get_encoder", "set_encoder", "tie_embeddings_and_encoder_decoder"], ENCODER
        ),
        **dict.fromkeys(
            [
                *("create_extended_attention_mask_for_decoder", "get_extended_attention_mask"),
                *("get_head_mask", "invert_attention_mask", "loss_function"),
                *("warn_if_padding_and_no_attention_mask", "can_record_outputs"),
            ],
            MASKS,
        ),
        **dict.fromkeys(
            [
                *("get_init_context", "initialize_weights", "mark_tied_weights_as_initialized"),
                *("named_non_persistent_buffers", "retrieve_modules_from_names"),
            ],
            LOADING,
        ),
        **dict.fromkeys(["kernelize", "set_use_kernels", "use_kernels"], KERNELS),
        **dict.fromkeys(["input_modalities", "output_modalities"], MODALITIES),
        **dict.fromkeys(["is_custom_code", "is_remote_code"], CODE),
        **dict.fromkeys(
            [
                *("get_correct_experts_implementation", "get_experts_implementation"),
                "set_experts_implementation",
            ],
            EXPERTS,
        ),
        **dict.fromkeys(
            ["reverse_bettertransformer", "to_bettertransformer"], "SDPA needs no conversion"
        ),
        "dequantize": "quantized folders are for the native decoder: convert the original",
        "generation_config_class": "generation_config may be any object with to_dict()",
        "get_compiled_call": "use torch.compile",
        "get_correct_attn_implementation": "set_attn_implementation checks the name",
        "is_backend_compatible": "any implementation of attention works",
        "register_for_auto_class": AUTO,
    },
    "GenerationMixin": {
        "adjust_generation_fn": LOADING,
        **dict.fromkeys(
            [
                *("continuous_batching_context_manager", "generate_batch"),
                *("destroy_cached_continuous_batching_manager", "init_continuous_batching"),
            ],
            SERVING,
        ),
        "heal_tokens": "of vocabularies in which tokens begin with a space",
        "load_custom_generate": CODE,
        "output_modalities": MODALITIES,
    },
    **{
        kind.__name__: {"load_tf_weights": "from_pretrained reads OpenAI's files"}
        for kind in MODELS
    },
    "OpenAIGPTConfig": {
        **dict.fromkeys(
            [
                *("allow_global_per_layer_attribute_access", "is_heterogeneous"),
                *("per_layer_attributes", "per_layer_config"),
                "serialize_explicit_per_layer_config",
            ],
            LAYERS,
        ),
        **dict.fromkeys(
            [
                *("base_model_ep_plan", "base_model_fsdp_plan", "base_model_pp_plan"),
                "base_model_tp_plan",
            ],
            DISTRIBUTED,
        ),
        **dict.fromkeys(
            [
                *("convert_rope_params_to_dict", "default_rope_type", "default_theta"),
                *("ignore_keys_at_rope_validation", "nested_rope_parameter_keys", "rope_scaling"),
                *("standardize_rope_params", "validate_rope"),
            ],
            ROPE,
        ),
        **dict.fromkeys(["default_config_fields", "dict_dtype_to_str"], LOADING),
        **dict.fromkeys(["extra_config_files", "extra_files"], LOADING),
        **dict.fromkeys(
            ["from_text_audio_configs", "from_text_vision_configs", "sub_configs_defaults"],
            "of models made of several",
        ),
        **dict.fromkeys(["is_custom_code", "is_remote_code"], CODE),
        **dict.fromkeys(
            [
                *("validate", "validate_architecture", "validate_layer_type"),
                *("validate_output_attentions", "validate_token_ids"),
            ],
            VALIDATE,
        ),
        "get_mtp_config": "of models that predict several tokens at once",
        "push_to_hub": "push the model: a configuration alone is none",
        "register_for_auto_class": AUTO,
    },
}
"""Names that ours do not have, and why."""

ABSENT_ARGUMENTS = {
    "PreTrainedModel": {
        "from_pretrained": {
            "disable_mmap": "files are read, not mapped",
            "fusion_config": KERNELS,
        },
        "push_to_hub": {
            "commit_description": UPLOAD,
            "create_pr": UPLOAD,
            "safe_serialization": "safetensors are always written",
            "use_temp_dir": "a temporary folder is always used",
        },
        "save_pretrained": {
            "distributed_checkpoint": DISTRIBUTED,
            "save_original_format": "there is one format",
            "save_peft_format": ADAPTERS,
        },
        "set_attn_implementation": {"allow_all_kernels": KERNELS},
        "tie_weights": {"missing_keys": LOADING, "recompute_mapping": LOADING},
    },
    "GenerationMixin": {
        "prepare_inputs_for_generation": {
            "cache_position": "the cache knows its positions",
            "is_first_iteration": "the cache knows whether it is empty",
            "next_sequence_length": "the cache knows its length",
        },
    },
    **{
        kind.__name__: {
            "set_input_embeddings": {"new_embeddings": "by position; its base names it value"}
        }
        for kind in MODELS
    },
    "OpenAIGPTConfig": {
        "save_pretrained": {"push_to_hub": "push the model: a configuration alone is none"}
    },
}
"""Arguments that our methods do not have, and why."""


HUB = set(HubOptions.__annotations__)
CONFIG = named(OpenAIGPTConfig.__init__) | {"chunk_size_feed_forward", "is_encoder_decoder"}
PASSED_ON: dict[str, set[str]] = {
    "__init__": CONFIG,
    "config_class": CONFIG,
    "from_pretrained": HUB | set(_NO_EFFECT),
    "generate": {*_NEUTRAL, "negative_prompt_attention_mask", "use_model_defaults"},
    "get_config_dict": HUB,
    "push_to_hub": named(push_folder),
    "save_pretrained": named(OpenAIGPTPreTrainedModel.push_to_hub, push_folder),
}
"""What a method hands on to another one, or takes as an extra, by name."""


def is_there(kind: Any, name: str) -> bool:
    tables = ("__dataclass_fields__", "defaults", "other_names")  # of outputs and configurations
    return hasattr(kind, name) or any(name in getattr(kind, table, ()) for table in tables)


COMPARISON = Comparison(
    file="model_surface",
    ours=OURS,
    absent=ABSENT,
    absent_arguments=ABSENT_ARGUMENTS,
    passed_on=PASSED_ON,
    has=is_there,
)


def test_nothing_of_version_4_is_missing() -> None:
    assert COMPARISON.lacking(COMPARISON.recorded()) == []


def test_nothing_of_the_installed_version_is_missing() -> None:
    pytest.importorskip("transformers")
    assert COMPARISON.lacking(of_transformers()) == []


def test_no_reason_is_out_of_date() -> None:
    assert COMPARISON.outdated() == []


@pytest.mark.parametrize(
    ("part", "name", "signature", "found"),
    [
        ("PreTrainedModel", "no_such_method", [["x"]], "OpenAIGPTModel.no_such_method"),
        ("PreTrainedModel", "no_such_value", None, "OpenAIGPTModel.no_such_value"),
        ("OpenAIGPTModel", "forward", [["input_ids", "no"]], "OpenAIGPTModel.forward(no)"),
        (
            "OpenAIGPTModel",
            "forward",
            [["attention_mask", "input_ids"]],
            "OpenAIGPTModel.forward(attention_mask)",
        ),
        ("OpenAIGPTConfig", "__init__", [["n_embed"]], "OpenAIGPTConfig.__init__(n_embed)"),
        ("CausalLMOutput", "scores", None, "CausalLMOutput.scores"),
    ],
)
def test_a_planted_gap_is_found(part: str, name: str, signature: Any, found: str) -> None:
    assert found in COMPARISON.lacking({part: {name: signature}})
