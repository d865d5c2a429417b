"""Export: transformers loads the exported model, the model card is complete, and damaged checkpoints are rejected."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from conf.schema import ConfigError
from conf.validation import parse_export
from launch.models.export import export_checkpoint, find_checkpoint
from launch.models.model_card import SELECTION_NOTE, format_model_card
from launch.models.starter_model import CHAT_TEMPLATE
from launch.records.best_checkpoint import BestCheckpoint, format_best_checkpoint
from launch.records.run_directory import RunDirectory
from launch.records.run_path import RunDirectoryError
from learner.checkpoint import CheckpointError, save_checkpoint
from learner.learner import Learner
from learner.policy import gather_parameters
from learner.rollout import TrainBatch
from tests.factories import make_config
from tests.tiny_learner import make_learner_settings, make_sequences, one_rank_group, save_tiny_model

PASS = "evaluation/starter/all/all/pass@1"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tied(request):
    return request.param


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tied):
    """Create a run directory with checkpoints of steps 10 (the best) and 20; return it with the last parameters."""
    folder = tmp_path_factory.mktemp("trained")
    with one_rank_group(tmp_path_factory.mktemp("group")):
        return train(folder, tied)


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of ``trained`` that the test may modify."""
    path, parameters = trained
    shutil.copytree(path, tmp_path / path.name)
    return tmp_path / path.name, parameters


def train(folder, tied):
    model = save_tiny_model(folder / "model", tied=tied)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(model)
    base = GenerationConfig(do_sample=True, top_k=20, temperature=0.7, repetition_penalty=1.5, eos_token_id=[2, 1])
    base.save_pretrained(model)
    directory = RunDirectory(make_config(f"run.root={folder}", "run.name=r", "evaluation.temperature=0.6"))
    learner = Learner(make_learner_settings(model, learning_rate=1e-2))
    for step, value in ((0, 0.25), (10, 0.5), (20, 0.375)):
        if step:
            learner.update(TrainBatch((tuple(make_sequences((1.0, -1.0), seed=step)),)))
            save_checkpoint(learner, directory.checkpoint_path(step), {})
        directory.append_metrics({"step": step, PASS: value, "critic/rewards/mean": value})
    directory.delete_old_checkpoints()
    return directory.path, {name: value.clone() for name, value in gather_parameters(learner.policy).items()}


def export(run, output, **changes):
    values = {"run": str(run), "step": "last", "output": str(output), "dtype": None, "overwrite": False}
    return export_checkpoint(parse_export(values | changes))


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_exported_weights_are_those_of_the_policy(run, tmp_path, dtype):
    path, parameters = run
    output = tmp_path / "out" / "model"
    assert export(path, output, dtype=dtype) == path / "checkpoints" / "step_000020"
    model, loaded = AutoModelForCausalLM.from_pretrained(output, dtype="auto", output_loading_info=True)
    assert not any(loaded.values())
    expected = {name: value.to(getattr(torch, dtype)) for name, value in parameters.items()}
    exported = dict(model.named_parameters())
    assert exported.keys() == expected.keys()
    assert all(
        value.dtype == expected[name].dtype and torch.equal(value, expected[name]) for name, value in exported.items()
    )
    assert json.loads((output / "config.json").read_text())["dtype"] == dtype
    assert not (output / "trainer").exists()
    assert [child.name for child in output.parent.iterdir()] == ["model"]


def test_export_contains_tokenizer_chat_template_and_sampling_settings(run, tmp_path):
    path, _ = run
    export(path, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    chat = [{"role": "user", "content": "w7 w8"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True).startswith(
        "<|im_start|>user"
    )
    assert tokenizer("w7 w8")["input_ids"] == [7, 8]
    sampling = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (sampling.do_sample, sampling.temperature, sampling.top_p, sampling.top_k) == (True, 0.6, 1.0, 0)
    assert (sampling.eos_token_id, sampling.pad_token_id) == ([2, 1], 0)
    assert sampling.repetition_penalty in (None, 1.0)
    files = [tmp_path / "out" / name for name in ("model.safetensors", "config.json")]
    assert files[0].stat().st_mode == files[1].stat().st_mode


def test_model_card_contains_results_and_configuration(run, tmp_path):
    path, _ = run
    export(path, tmp_path / "out", step="best")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# r, step 10" in card
    assert "| starter, all, all | 0.250 | 0.500 |" in card
    assert SELECTION_NOTE in card
    assert "Mean training reward: 0.250 over the first 1 of 1 steps, 0.250 over the last." in card
    front = yaml.safe_load(card.split("---")[1])
    assert (front["library_name"], "base_model" in front) == ("transformers", False)
    written = yaml.safe_load(card.split("## Configuration\n\n```yaml\n")[1].split("```")[0])
    assert written == yaml.safe_load((path / "config.yaml").read_text())


def test_model_card_names_the_base_model_and_a_missing_evaluation():
    settings = make_config("model.path=Qwen/Qwen3-1.7B")
    card = format_model_card(settings, 20, "bfloat16", [{"step": 0, PASS: 0.5}], {"python": "3.11"}, is_best=False)
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "Qwen/Qwen3-1.7B"
    assert "This checkpoint was not evaluated in its run." in card


def test_checkpoint_is_found_by_step_best_or_last(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"no config\.yaml in it"):
        find_checkpoint(tmp_path, "last")
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(RunDirectoryError, match="no complete checkpoint yet"):
        find_checkpoint(tmp_path, "last")
    folder = tmp_path / "checkpoints"
    for step in (10, 20):
        (folder / f"step_{step:06d}").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=r"none of its checkpoints was evaluated, .* try step=last"):
        find_checkpoint(tmp_path, "best")
    (folder / "best.json").write_text(format_best_checkpoint(BestCheckpoint(10, PASS, 0.5)))
    names = [find_checkpoint(tmp_path, step).name for step in ("last", "best", 10)]
    assert names == ["step_000020", "step_000010", "step_000010"]
    with pytest.raises(RunDirectoryError, match="no checkpoint of step 15; available steps: 10, 20"):
        find_checkpoint(tmp_path, 15)


def test_existing_export_is_only_replaced_with_overwrite(run, tmp_path):
    path, _ = run
    output = tmp_path / "out"
    export(path, output, step=10)
    before = (output / "README.md").read_text()
    with pytest.raises(ConfigError, match=r"^output=.*out: exists; choose another directory, or set overwrite=true$"):
        export(path, output)
    assert (output / "README.md").read_text() == before
    export(path, output, overwrite=True)
    assert "# r, step 20" in (output / "README.md").read_text()


def test_only_exported_models_are_replaced(run, tmp_path):
    path, _ = run
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (path / "checkpoints" / "step_000010" / "README.md").write_text("")
    for taken in (tmp_path / "mine", path / "checkpoints" / "step_000010", path / "config.yaml"):
        with pytest.raises(ConfigError, match="is not an exported model, so it is not replaced"):
            export(path, taken, overwrite=True)
    (tmp_path / "empty").mkdir()
    export(path, tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").is_file()


def delete_weights(checkpoint):
    (checkpoint / "model.safetensors").unlink()


def delete_configuration(checkpoint):
    (checkpoint / "config.json").unlink()


def truncate_weights(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def configure_another_layer(checkpoint):
    text = (checkpoint / "config.json").read_text()
    values = json.loads(text) | {"num_hidden_layers": 3}
    values["layer_types"] = ["full_attention"] * 3
    (checkpoint / "config.json").write_text(json.dumps(values))


def add_tokens(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(checkpoint)


def delete_chat_template(checkpoint):
    (checkpoint / "chat_template.jinja").unlink()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (delete_weights, "cannot be read: "),
        (delete_configuration, "it has no config.json: not a checkpoint, or damaged"),
        (truncate_weights, "cannot be read: "),
        (configure_another_layer, "damaged: 11 parameters are missing, for example model.layers.2."),
        (add_tokens, "the tokenizer has 1 tokens without an embedding (the model has 97, '<new>' is token 97)"),
        (delete_chat_template, "its tokenizer has no chat template"),
    ],
)
def test_damaged_checkpoint_is_rejected(run, tmp_path, damage, message):
    path, _ = run
    checkpoint = path / "checkpoints" / "step_000020"
    damage(checkpoint)
    with pytest.raises(CheckpointError) as caught:
        export(path, tmp_path / "out")
    assert str(caught.value).startswith(f"{checkpoint}: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None}, "output: Value error, missing: set it to a directory (got None)"),
        ({"step": "lats"}, "step: Value error, not best, last or the number of a step (got 'lats')"),
        ({"step": 0}, "step: Value error, not best, last or the number of a step (got 0)"),
        ({"dtype": "float16"}, "dtype: Input should be 'float32' or 'bfloat16' (got 'float16')"),
    ],
)
def test_invalid_settings_are_reported(changes, message):
    with pytest.raises(ConfigError) as caught:
        parse_export({"run": "r", "step": "last", "output": "o", "dtype": None, "overwrite": False} | changes)
    assert str(caught.value) == message


@pytest.mark.heavy
def test_export_command_prints_the_checkpoint_or_the_error(run, tmp_path):
    path, _ = run
    arguments = [sys.executable, "-m", "launch.export", f"run={path}", f"output={tmp_path / 'out'}"]
    for status, message in ((0, "step_000020 exported to"), (2, "exists; choose another directory")):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, message in done.stdout) == (status, True), done.stdout + done.stderr
    shutil.rmtree(tmp_path / "out")
