"""The snippets of Hugging Face's page for OpenAI GPT run with `ogpt` in place of `transformers`.

A small model lies where the snippets' id says, so that they stand here as they stand there, but
for the Auto classes, which OpenAIGPTTokenizer and OpenAIGPTLMHeadModel take the place of.
"""

from pathlib import Path

import pytest
import torch
import transformers

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import OgptNotice, collecting
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from ogpt.tokens.word_counting import count_words

ID = "openai-community/openai-gpt"
TEXT = ["Hello, my dog is cute. Hello, my cat is cute. The future of AI is bright."]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home")
    with collecting():  # there is less to learn, and every word becomes one token
        vocab, merges = learn_merges(count_words(TEXT), 200)
    tokenizer = OpenAIGPTTokenizer(vocab=vocab, merges=merges, pre_tokenizer="bert")
    tokenizer.save_pretrained(path / ID)
    torch.manual_seed(0)
    sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    config = OpenAIGPTConfig(vocab_size=len(tokenizer), initializer_range=0.3, **sizes)
    OpenAIGPTLMHeadModel(config).save_pretrained(path / ID)
    return path


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


@pytest.mark.filterwarnings("ignore:device 0 was requested")
def test_pipeline() -> None:
    import torch

    from ogpt import pipeline

    generator = pipeline(
        task="text-generation",
        model="openai-community/openai-gpt",
        dtype=torch.float16,
        device=0,
    )
    output = generator("The future of AI is", max_length=50, do_sample=True)
    text = output[0]["generated_text"]

    assert generator.model.dtype == torch.float16
    assert len(output) == 1
    assert text.startswith("The future of AI is ")
    tensors = generator("The future of AI is", max_length=50, return_tensors=True)
    assert len(tensors[0]["generated_token_ids"]) == 50


def test_language_model_and_generate() -> None:
    from ogpt import OpenAIGPTLMHeadModel, OpenAIGPTTokenizer

    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    model = OpenAIGPTLMHeadModel.from_pretrained("openai-community/openai-gpt")

    inputs = tokenizer("The future of AI is", return_tensors="pt")
    outputs = model.generate(**inputs, max_length=50)
    text = tokenizer.decode(outputs[0], skip_special_tokens=True)

    assert outputs.shape == (1, 50)
    assert text.startswith("the future of ai is ")
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(ID)
    expected = theirs.generate(**transformers_inputs("The future of AI is"), max_length=50)
    assert torch.equal(outputs, expected)


def transformers_inputs(text: str) -> dict[str, torch.Tensor]:
    return dict(transformers.AutoTokenizer.from_pretrained(ID)(text, return_tensors="pt"))


def test_language_model_loss() -> None:
    import torch

    from ogpt import OpenAIGPTLMHeadModel, OpenAIGPTTokenizer

    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    model = OpenAIGPTLMHeadModel.from_pretrained("openai-community/openai-gpt")

    inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
    outputs = model(**inputs, labels=inputs["input_ids"])
    loss = outputs.loss
    logits = outputs.logits

    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(ID)
    given = transformers_inputs("Hello, my dog is cute")
    expected = theirs(**given, labels=given["input_ids"])
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)


def test_base_model() -> None:
    from ogpt import OpenAIGPTModel, OpenAIGPTTokenizer

    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    model = OpenAIGPTModel.from_pretrained("openai-community/openai-gpt")

    inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
    outputs = model(**inputs)
    last_hidden_states = outputs.last_hidden_state

    theirs = transformers.OpenAIGPTModel.from_pretrained(ID)
    expected = theirs(**transformers_inputs("Hello, my dog is cute")).last_hidden_state
    torch.testing.assert_close(last_hidden_states, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*randomly initialized, needs training. multiple_choice_head")
def test_double_heads() -> None:
    import torch

    from ogpt import OpenAIGPTDoubleHeadsModel, OpenAIGPTTokenizer

    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    model = OpenAIGPTDoubleHeadsModel.from_pretrained("openai-community/openai-gpt")
    tokenizer.add_special_tokens(
        {"cls_token": "[CLS]"}
    )  # Add a [CLS] to the vocabulary (we should train it also!)
    model.resize_token_embeddings(len(tokenizer))

    choices = ["Hello, my dog is cute [CLS]", "Hello, my cat is cute [CLS]"]
    # Batch size 1, 2 choices
    input_ids = torch.tensor([tokenizer.encode(s) for s in choices]).unsqueeze(0)
    # Batch size 1
    mc_token_ids = torch.tensor([input_ids.size(-1) - 1, input_ids.size(-1) - 1]).unsqueeze(0)

    outputs = model(input_ids, mc_token_ids=mc_token_ids)
    lm_logits = outputs.logits
    mc_logits = outputs.mc_logits

    _, n_choices, n_tokens = input_ids.shape
    assert (input_ids[..., -1] == tokenizer.cls_token_id).all()
    assert tokenizer.cls_token_id == len(tokenizer) - 1 == model.config.vocab_size - 1
    assert lm_logits.shape == (1, n_choices, n_tokens, len(tokenizer))
    assert mc_logits.shape == (1, n_choices)
    assert mc_logits[0, 0] != mc_logits[0, 1]
    assert torch.equal(model(input_ids).mc_logits, mc_logits)  # the last token is the default

    model.save_pretrained("double-heads")
    theirs = transformers.OpenAIGPTDoubleHeadsModel.from_pretrained("double-heads")
    expected = theirs(input_ids, mc_token_ids=mc_token_ids)
    torch.testing.assert_close(lm_logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mc_logits, expected.mc_logits, atol=1e-5, rtol=1e-5)


def test_single_label_classification() -> None:
    import torch

    from ogpt import OpenAIGPTForSequenceClassification, OpenAIGPTTokenizer

    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    with pytest.warns(OgptNotice, match=r"randomly initialized, needs training: score\.weight"):
        model = OpenAIGPTForSequenceClassification.from_pretrained("openai-community/openai-gpt")

    inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")

    with torch.no_grad():
        logits = model(**inputs).logits

    predicted_class_id = logits.argmax().item()
    label = model.config.id2label[predicted_class_id]

    # To train a model on `num_labels` classes, you can pass `num_labels=num_labels`
    num_labels = len(model.config.id2label)
    with pytest.warns(OgptNotice, match=r"randomly initialized, needs training: score\.weight"):
        model = OpenAIGPTForSequenceClassification.from_pretrained(
            "openai-community/openai-gpt", num_labels=num_labels
        )

    labels = torch.tensor([1])
    loss = model(**inputs, labels=labels).loss
    loss.backward()

    assert logits.shape == (1, num_labels) == (1, 2)
    assert label == f"LABEL_{predicted_class_id}"
    scores = model(**inputs).logits[0]
    assert loss.item() == pytest.approx((scores.logsumexp(0) - scores[1]).item(), abs=1e-6)
    assert model.config.problem_type is None  # transformers writes its guess here
    assert model.score.weight.grad is not None


def test_multi_label_classification() -> None:
    import torch

    from ogpt import OpenAIGPTForSequenceClassification, OpenAIGPTTokenizer

    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    with pytest.warns(OgptNotice, match=r"randomly initialized, needs training: score\.weight"):
        model = OpenAIGPTForSequenceClassification.from_pretrained(
            "openai-community/openai-gpt",
            problem_type="multi_label_classification",
        )

    inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")

    with torch.no_grad():
        logits = model(**inputs).logits

    predicted_class_ids = torch.arange(0, logits.shape[-1])[
        torch.sigmoid(logits).squeeze(dim=0) > 0.5
    ]

    # To train a model on `num_labels` classes, you can pass `num_labels=num_labels`
    num_labels = len(model.config.id2label)
    with pytest.warns(OgptNotice, match=r"randomly initialized, needs training: score\.weight"):
        model = OpenAIGPTForSequenceClassification.from_pretrained(
            "openai-community/openai-gpt",
            num_labels=num_labels,
            problem_type="multi_label_classification",
        )

    labels = torch.sum(
        torch.nn.functional.one_hot(predicted_class_ids[None, :].clone(), num_classes=num_labels),
        dim=1,
    ).to(torch.float)
    loss = model(**inputs, labels=labels).loss
    loss.backward()

    scores = model(**inputs).logits
    assert labels.shape == scores.shape == (1, num_labels)
    chances = scores.sigmoid()
    expected = -(labels * chances.log() + (1 - labels) * (1 - chances).log()).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_configuration() -> None:
    from ogpt import OpenAIGPTConfig, OpenAIGPTModel

    # Initializing a GPT configuration
    configuration = OpenAIGPTConfig()

    # Initializing a model (with random weights) from the configuration
    with torch.device("meta"):  # it takes no memory here
        model = OpenAIGPTModel(configuration)

    # Accessing the model configuration
    configuration = model.config

    assert (configuration.n_layer, configuration.n_embd, configuration.n_head) == (12, 768, 12)
    assert model.num_parameters() == 116_534_784


@pytest.mark.filterwarnings("ignore:.*randomly initialized, needs training. score")
def test_the_text_classification_guide() -> None:
    """Padding and batches, where openai-gpt stops in transformers."""
    from ogpt import OpenAIGPTForSequenceClassification, OpenAIGPTTokenizer, pipeline

    id2label = {0: "NEGATIVE", 1: "POSITIVE"}
    label2id = {"NEGATIVE": 0, "POSITIVE": 1}
    tokenizer = OpenAIGPTTokenizer.from_pretrained("openai-community/openai-gpt")
    model = OpenAIGPTForSequenceClassification.from_pretrained(
        "openai-community/openai-gpt", num_labels=2, id2label=id2label, label2id=label2id
    )
    model.save_pretrained("my_awesome_model")
    tokenizer.save_pretrained("my_awesome_model")

    classifier = pipeline("sentiment-analysis", model="my_awesome_model")
    [found] = classifier("Hello, my dog is cute")

    inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    predicted_class_id = logits.argmax().item()
    assert found["label"] == model.config.id2label[predicted_class_id]
    assert found["score"] == pytest.approx(logits.softmax(-1).max().item(), abs=1e-6)
    together = classifier(["Hello, my dog is cute", "Hello"], batch_size=2)
    assert together[0]["score"] == pytest.approx(found["score"], abs=1e-6)
