"""An exported checkpoint is what transformers loads, with everything it needs; what cannot be exported is refused."""

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
from launch.models.export import chosen_checkpoint, export
from launch.models.model_card import model_card
from launch.models.starter_model import CHAT_TEMPLATE
from launch.records.best_checkpoint import Best, best_text
from launch.records.run_directory import RunDirectory
from launch.records.run_path import RunDirectoryError
from learner.checkpoint import CheckpointError, save_checkpoint
from learner.learner import Learner
from learner.policy import full_parameters
from learner.rollout import TrainBatch
from tests.factories import config
from tests.tiny_learner import learner_settings, one_rank_group, sequences_of, tiny_model

PASS = "evaluation/starter/all/all/pass@1"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tied(request):
    return request.param


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tied):
    """A run directory with checkpoints of steps 10, the best, and 20; and the parameters of the last."""
    folder = tmp_path_factory.mktemp("trained")
    with one_rank_group(tmp_path_factory.mktemp("group")):
        return train(folder, tied)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of ``trained``, for a test to change."""
    path, parameters = trained
    shutil.copytree(path, tmp_path / path.name)
    return tmp_path / path.name, parameters


def train(folder, tied):
    model = tiny_model(folder / "model", tied=tied)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(model)
    theirs = GenerationConfig(do_sample=True, top_k=20, temperature=0.7, repetition_penalty=1.5, eos_token_id=[2, 1])
    theirs.save_pretrained(model)
    directory = RunDirectory(config(f"run.root={folder}", "run.name=r", "evaluation.temperature=0.6"))
    learner = Learner(learner_settings(model, learning_rate=1e-2))
    for step, value in ((0, 0.25), (10, 0.5), (20, 0.375)):
        if step:
            learner.update(TrainBatch((tuple(sequences_of((1.0, -1.0), seed=step)),)))
            save_checkpoint(learner, directory.checkpoint_path(step), {})
        directory.append_metrics({"step": step, PASS: value, "critic/rewards/mean": value})
    directory.drop_old_checkpoints()
    return directory.path, {name: value.clone() for name, value in full_parameters(learner.policy).items()}


def exported(run, output, **changes):
    values = {"run": str(run), "step": "last", "output": str(output), "dtype": None, "overwrite": False}
    return export(parse_export(values | changes))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_export_is_the_policy(run, tmp_path, dtype):
    path, parameters = run
    output = tmp_path / "out" / "model"
    assert exported(path, output, dtype=dtype) == path / "checkpoints" / "step_000020"
    model, loaded = AutoModelForCausalLM.from_pretrained(output, dtype="auto", output_loading_info=True)
    assert not any(loaded.values())
    expected = {name: value.to(getattr(torch, dtype)) for name, value in parameters.items()}
    found = dict(model.named_parameters())
    assert found.keys() == expected.keys()
    assert all(
        value.dtype == expected[name].dtype and torch.equal(value, expected[name]) for name, value in found.items()
    )
    assert json.loads((output / "config.json").read_text())["dtype"] == dtype
    assert not (output / "trainer").exists()
    assert [each.name for each in output.parent.iterdir()] == ["model"]


def test_tokenizer_chat_template_and_sampling(run, tmp_path):
    path, _ = run
    exported(path, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    chat = [{"role": "user", "content": "w7 w8"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True).startswith(
        "<|im_start|>user"
    )
    assert tokenizer("w7 w8")["input_ids"] == [7, 8]
    found = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (found.do_sample, found.temperature, found.top_p, found.top_k) == (True, 0.6, 1.0, 0)
    assert (found.eos_token_id, found.pad_token_id, found.repetition_penalty in (None, 1.0)) == ([2, 1], 0, True)
    files = [tmp_path / "out" / name for name in ("model.safetensors", "config.json")]
    assert files[0].stat().st_mode == files[1].stat().st_mode


def test_the_card_has_configuration_and_figures(run, tmp_path):
    path, _ = run
    exported(path, tmp_path / "out", step="best")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# r, step 10" in card
    assert "| starter, all, all | 0.250 | 0.500 |" in card
    assert "Mean training reward: 0.250 over the first 1 of 1 steps, 0.250 over the last." in card
    front = yaml.safe_load(card.split("---")[1])
    assert (front["library_name"], "base_model" in front) == ("transformers", False)
    written = yaml.safe_load(card.split("## Configuration\n\n```yaml\n")[1].split("```")[0])
    assert written == yaml.safe_load((path / "config.yaml").read_text())


def test_the_card_names_a_base_model_from_the_hub_and_says_what_was_not_evaluated():
    settings = config("model.path=Qwen/Qwen3-1.7B")
    card = model_card(settings, 20, "bfloat16", [{"step": 0, PASS: 0.5}], {"python": "3.11"})
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "Qwen/Qwen3-1.7B"
    assert "This checkpoint was not evaluated in its run." in card


def test_which_checkpoint(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"no config\.yaml in it"):
        chosen_checkpoint(tmp_path, "last")
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(RunDirectoryError, match="no complete checkpoint yet"):
        chosen_checkpoint(tmp_path, "last")
    folder = tmp_path / "checkpoints"
    for step in (10, 20):
        (folder / f"step_{step:06d}").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=r"no checkpoint of it was evaluated, .* try step=last"):
        chosen_checkpoint(tmp_path, "best")
    (folder / "best.json").write_text(best_text(Best(10, PASS, 0.5)))
    chosen = [chosen_checkpoint(tmp_path, step).name for step in ("last", "best", 10)]
    assert chosen == ["step_000020", "step_000010", "step_000010"]
    with pytest.raises(RunDirectoryError, match="no checkpoint of step 15; there are those of 10, 20"):
        chosen_checkpoint(tmp_path, 15)


def test_nothing_is_overwritten_unasked(run, tmp_path):
    path, _ = run
    output = tmp_path / "out"
    exported(path, output, step=10)
    before = (output / "README.md").read_text()
    with pytest.raises(ConfigError, match=r"^output=.*out: exists; choose another directory, or set overwrite=true$"):
        exported(path, output)
    assert (output / "README.md").read_text() == before
    exported(path, output, overwrite=True)
    assert "# r, step 20" in (output / "README.md").read_text()


def test_only_exports_are_ever_replaced(run, tmp_path):
    path, _ = run
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (path / "checkpoints" / "step_000010" / "README.md").write_text("")
    for taken in (tmp_path / "mine", path / "checkpoints" / "step_000010", path / "config.yaml"):
        with pytest.raises(ConfigError, match="holds something else than an exported model"):
            exported(path, taken, overwrite=True)
    (tmp_path / "empty").mkdir()
    exported(path, tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").is_file()


def lose_weights(checkpoint):
    (checkpoint / "model.safetensors").unlink()


def lose_configuration(checkpoint):
    (checkpoint / "config.json").unlink()


def halve_weights(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def expect_another_layer(checkpoint):
    text = (checkpoint / "config.json").read_text()
    values = json.loads(text) | {"num_hidden_layers": 3}
    values["layer_types"] = ["full_attention"] * 3
    (checkpoint / "config.json").write_text(json.dumps(values))


def add_tokens(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(checkpoint)


def lose_chat_template(checkpoint):
    (checkpoint / "chat_template.jinja").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_weights, "cannot be read: "),
        (lose_configuration, "it has no config.json: not a checkpoint, or damaged"),
        (halve_weights, "cannot be read: "),
        (expect_another_layer, "damaged: it lacks 11 parameters, for example model.layers.2."),
        (add_tokens, "the tokenizer has 1 tokens without an embedding (the model has 97, '<new>' is token 97)"),
        (lose_chat_template, "its tokenizer has no chat template"),
    ],
)
def test_a_damaged_checkpoint_is_refused(run, tmp_path, damage, message):
    path, _ = run
    checkpoint = path / "checkpoints" / "step_000020"
    damage(checkpoint)
    with pytest.raises(CheckpointError) as caught:
        exported(path, tmp_path / "out")
    assert str(caught.value).startswith(f"{checkpoint}: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None}, "output: Value error, missing: name a directory (got None)"),
        ({"step": "lats"}, "step: Value error, not best, last or the number of a step (got 'lats')"),
        ({"step": 0}, "step: Value error, not best, last or the number of a step (got 0)"),
        ({"dtype": "float16"}, "dtype: Input should be 'float32' or 'bfloat16' (got 'float16')"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ConfigError) as caught:
        parse_export({"run": "r", "step": "last", "output": "o", "dtype": None, "overwrite": False} | changes)
    assert str(caught.value) == message


@pytest.mark.heavy
def test_the_command(run, tmp_path):
    path, _ = run
    arguments = [sys.executable, "-m", "launch.export", f"run={path}", f"output={tmp_path / 'out'}"]
    for status, said in ((0, "step_000020 exported to"), (2, "exists; choose another directory")):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr
    shutil.rmtree(tmp_path / "out")
